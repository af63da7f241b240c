// Both sides of a stream with resumable-stream. Run by resumable_stream.py, from the folder it is installed in.
//
//   node resumable_stream.mjs serve     prints its port; GET /<stream> follows that stream
//   node resumable_stream.mjs produce   takes "open <stream>", "publish <rate> <events>", "close"; answers "done"

import http from "node:http";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream/redis";

const PAYLOAD_BYTES = 120;

async function connectedContext() {
  const [publisher, subscriber] = [1, 2].map(() => createClient({ url: process.env.REDIS_URL }));
  await Promise.all([publisher.connect(), subscriber.connect()]);
  return createResumableStreamContext({ waitUntil: null, publisher, subscriber });
}

async function serve() {
  const context = await connectedContext();
  const server = http.createServer(async (request, response) => {
    const stream = await context.resumeExistingStream(request.url.slice(1));
    if (!stream) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    const body = Readable.fromWeb(stream).pipe(response);
    body.on("error", () => {});
  });
  server.listen({ port: 0, host: "127.0.0.1", backlog: 4096 }, () => console.log(server.address().port));
}

function event(seq) {
  const mark = `#${String(seq).padStart(8, "0")},${process.hrtime.bigint()}#`;
  return `data: ${mark.padEnd(PAYLOAD_BYTES, "x")}\n\n`;
}

async function publish(controller, rate, events) {
  const beganMs = performance.now();
  for (let seq = 0; seq < events; ) {
    while (seq < events && performance.now() >= beganMs + (seq / rate) * 1000) controller.enqueue(event(seq++));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function produce() {
  const context = await connectedContext();
  let controller, drained;
  for await (const line of createInterface({ input: process.stdin })) {
    const [command, ...words] = line.split(" ");
    if (command === "open") {
      const source = new ReadableStream({ start: (given) => void (controller = given) });
      const own = await context.createNewResumableStream(words[0], () => source);
      drained = own.pipeTo(new WritableStream());
    } else if (command === "publish") {
      await publish(controller, ...words.map(Number));
    } else {
      controller.close();
      await drained;
    }
    console.log("done");
  }
}

await (process.argv[2] === "serve" ? serve() : produce());
