// Reads the streams at the given paths over one connection of HTTP/2, and prints "open" once all have begun.
import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const [origin, authority, key, ...paths] = process.argv.slice(2);
const session = connect(origin, { ca: readFileSync(authority) });
session.on("error", (error) => {
  console.error(String(error));
  process.exit(1);
});

let open = 0;
const bodies = await Promise.all(
  paths.map(
    (path) =>
      new Promise((resolve, reject) => {
        const stream = session.request({ ":path": path, authorization: `Bearer ${key}` });
        let body = "";
        stream.setEncoding("utf8");
        stream.on("response", (headers) => {
          if (headers[":status"] !== 200) reject(new Error(`${path} answered ${headers[":status"]}`));
        });
        stream.on("data", (data) => {
          if (!body && ++open === paths.length) console.log("open");
          body += data;
        });
        stream.on("end", () => resolve(body));
        stream.on("error", reject);
      }),
  ),
);
session.close();
console.log(JSON.stringify(bodies));
