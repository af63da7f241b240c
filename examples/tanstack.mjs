// TanStack AI's `ChatClient`, which is the engine of its `useChat`, without a page. One client asks a question, and comes
// back by itself if its connection is lost. A second client, like another tab, joins the run and gets the whole answer.
//
// npm install @tanstack/ai-client
// TICKERTAPE_URL=http://127.0.0.1:8000 node examples/tanstack.mjs "Why is it blue?"

import { ChatClient, fetchServerSentEvents } from '@tanstack/ai-client';

const connection = fetchServerSentEvents(`${process.env.TICKERTAPE_URL}/agui`);
let runId;
const client = new ChatClient({
  connection,
  onChunk: (event) => { runId = event.runId ?? runId; },
  onError: (error) => { throw error; },
});
await client.sendMessage(process.argv[2]);
const { parts } = client.getMessages().at(-1);
console.log(parts.map((part) => (part.type === 'text' ? part.content : '')).join(''));

let joined = '';
for await (const event of connection.joinRun(runId)) {
  if (event.type === 'TEXT_MESSAGE_CONTENT') joined += event.delta;
}
console.log(joined);
