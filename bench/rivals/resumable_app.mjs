// A chat with resumable-stream as its README shows: the process that is asked generates, each process serves readers.
// resumable.py runs two processes, from the folder in which the packages are installed.

import http from "node:http";
import { Readable } from "node:stream";
import { createClient } from "redis";
import { createResumableStreamContext } from "resumable-stream/redis";

const [publisher, subscriber] = [1, 2].map(() => createClient({ url: process.env.REDIS_URL }));
await Promise.all([publisher.connect(), subscriber.connect()]);
const context = createResumableStreamContext({ waitUntil: null, publisher, subscriber });
let count = 0;

async function* tokens(prompt) {
  const response = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer key" },
    body: JSON.stringify({ model: "bench", stream: true, messages: [{ role: "user", content: prompt }] }),
  });
  let unread = "";
  for await (const bytes of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (unread + bytes).split("\n");
    unread = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
      const text = JSON.parse(line.slice(6)).choices[0]?.delta?.content;
      if (text) yield `data: ${JSON.stringify({ text })}\n\n`;
    }
  }
  yield "event: done\ndata: {}\n\n";
}

async function ask(request, response) {
  let body = "";
  for await (const part of request) body += part;
  const id = `answer-${process.pid}-${++count}`;
  const stream = await context.createNewResumableStream(id, () => ReadableStream.from(tokens(JSON.parse(body).prompt)));
  stream.pipeTo(new WritableStream()); // the first reader has left
  response.writeHead(200, { "Content-Type": "application/json" }).end(JSON.stringify({ id }));
}

async function read(id, response) {
  const stream = await context.resumeExistingStream(id);
  if (!stream) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.flushHeaders();
  Readable.fromWeb(stream).pipe(response).on("error", () => {});
}

http
  .createServer((request, response) => (request.method === "POST" ? ask(request, response) : read(request.url.replace("/read/", ""), response)))
  .listen({ fd: Number(process.argv[2]) });
