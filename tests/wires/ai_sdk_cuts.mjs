// The AI SDK's own chat, whose every connection breaks. Prints `at end` when the last word is there,
// and the chat as JSON when the answer has ended.

import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';

const { TICKERTAPE_URL, API_PATH, TRANSPORT, LAST_WORD } = process.env;
const api = `${TICKERTAPE_URL}${API_PATH}`;
const question = { id: 'u-1', role: 'user', parts: [{ type: 'text', text: 'hi' }] };
const isReloaded = TRANSPORT === 'reloaded';
let wasWhole = false;
// The transport reports each cut.
console.error = () => {};

// A browser reports a reply that ends without its last chunk. Node's fetch takes it for whole, if the
// server had announced that it closes the connection.
async function fetchLikeABrowser(...call) {
  const response = await fetch(...call);
  if (wasWhole) console.log('at end');
  if (response.body === null) return response;
  const decoder = new TextDecoder();
  let end = '';
  const body = response.body.pipeThrough(new TransformStream({
    transform(bytes, controller) {
      end = (end + decoder.decode(bytes, { stream: true })).slice(-20);
      controller.enqueue(bytes);
    },
    flush(controller) {
      if (!end.endsWith('data: [DONE]\n\n')) controller.error(new TypeError('network error'));
    },
  }));
  return new Response(body, response);
}

const transports = {
  default: () => new DefaultChatTransport({ api, fetch: fetchLikeABrowser }),
  async workflow() {
    const { WorkflowChatTransport } = await import('@ai-sdk/workflow/client');
    return new WorkflowChatTransport({
      api,
      fetch: fetchLikeABrowser,
      maxConsecutiveErrors: 1_000_000,
      prepareSendMessagesRequest: ({ id, messages, body, trigger, messageId }) => ({
        headers: { 'Content-Type': 'application/json' },
        body: { id, messages, trigger, messageId, ...body },
      }),
    });
  },
};
transports.reloaded = transports.default;

const transport = await transports[TRANSPORT]();
const newChat = () => new Chat({ id: 'cut', transport, messages: [question], onError() {} });
let chat = newChat();

function text() {
  const parts = chat.messages.at(-1).parts.filter((part) => part.type === 'text');
  return parts.map((part) => part.text).join('');
}

const watching = setInterval(() => {
  if (isReloaded || wasWhole || !text().endsWith(LAST_WORD)) return;
  wasWhole = true;
  console.log('at end');
}, 5);

await chat.sendMessage();
while (chat.status === 'error') {
  if (isReloaded) {
    // The new chat knows nothing, so it has to be there before the answer ends.
    wasWhole ||= text().endsWith(LAST_WORD);
    chat = newChat();
  }
  await chat.resumeStream();
}
clearInterval(watching);
const parts = chat.messages.at(-1).parts.map((part) => part.type);
console.log(JSON.stringify({ status: chat.status, text: text(), parts, count: chat.messages.length }));
