// The AI SDK's `Chat`, which is the engine of `useChat`, without a page. One client asks a question. A second client
// opens in mid-answer, like a page that is reloaded, and gets the whole answer as well.
//
// npm install ai@7 @ai-sdk/react@4 react
// TICKERTAPE_URL=http://127.0.0.1:8000 node examples/ai_sdk.mjs "Why is it blue?"

import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';

const id = crypto.randomUUID();
const transport = new DefaultChatTransport({ api: `${process.env.TICKERTAPE_URL}/api/chat` });
const textOf = (chat) =>
  (chat.lastMessage?.parts ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('');

const asking = new Chat({ id, transport });
let isOver = false;
const sending = asking.sendMessage({ text: process.argv[2] }).finally(() => { isOver = true; });
while (asking.status !== 'streaming' && !isOver) await new Promise((done) => setTimeout(done, 10));

const watching = new Chat({ id, transport, messages: asking.messages.slice(0, 1) });
await Promise.all([sending, watching.resumeStream()]);
for (const chat of [asking, watching]) {
  if (chat.error) throw chat.error;
}
console.log(textOf(asking));
console.log(textOf(watching));
