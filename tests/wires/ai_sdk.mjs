// The AI SDK's own chat against a running API. Prints `at <place>` where the test has something to
// do before it goes on, and what became of each chat as JSON.

import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport } from 'ai';

const api = `${process.env.TICKERTAPE_URL}/api/chat`;

function chat(id, options = {}) {
  const transport = new DefaultChatTransport({ api });
  return new Chat({ id, transport, messages: [], onError() {}, ...options });
}

function text(message) {
  return (message?.parts ?? [])
    .filter((part) => part.type === 'text')
    .map((part) => part.text)
    .join('');
}

async function until(what, isMet) {
  for (let tries = 0; tries < 2000; tries += 1) {
    if (isMet()) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`never came: ${what}`);
}

function show(name, ...chats) {
  const shown = chats.map((one) => ({
    status: one.status,
    error: one.error?.message ?? null,
    messages: one.messages.map((message) => ({
      id: message.role === 'assistant' ? message.id : null,
      role: message.role,
      text: text(message),
      parts: message.parts.map((part) => part.type),
    })),
  }));
  console.log(`${name} ${JSON.stringify(shown)}`);
}

// Sent in one client, and read to the end in another that was opened in mid-answer.
const first = chat('team/a');
const sending = first.sendMessage({ text: 'send' });
await until('the first half', () => text(first.lastMessage) === 'Hel');
const second = chat('team/a', { messages: first.messages.slice(0, 1) });
const resuming = second.resumeStream();
await until('the replay', () => text(second.lastMessage) === 'Hel');
console.log('at send');
await Promise.all([sending, resuming]);
show('send', first, second);

// Asked again: the new answer takes the place of the old one.
await first.regenerate();
show('regenerate', first);

// The question edited: what followed it is gone, and the answer is to the new one.
await first.sendMessage({ text: 'edit', messageId: first.messages[0].id });
show('edit', first);

// Nothing is active: neither here nor in a chat that never was.
const idle = chat('never-was');
await idle.resumeStream();
await second.resumeStream();
show('idle', idle, second);

// Stopped at the server, and so for everyone.
const stopped = chat('stopped');
const stopping = stopped.sendMessage({ text: 'stop' });
await until('the first half', () => text(stopped.lastMessage) === 'half');
const answer = await fetch(`${api}/stopped/stop`, { method: 'POST' });
console.log(`stop-answer ${JSON.stringify(await answer.json())}`);
await stopping;
show('stop', stopped);

// Closing the tab is no stop.
const left = chat('left');
void left.sendMessage({ text: 'leave' });
await until('the first half', () => text(left.lastMessage) === 'Hel');
await left.stop();
const back = chat('left', { messages: left.messages.slice(0, 1) });
const returning = back.resumeStream();
await until('the replay', () => text(back.lastMessage) === 'Hel');
console.log('at leave');
await returning;
show('leave', back);

// Errors: in mid-answer, and before it.
for (const name of ['fail', 'reject']) {
  const failed = chat(name);
  await failed.sendMessage({ text: name });
  show(name, failed);
}

// Reasoning and a tool; its output goes back, and the answer goes on in the same message.
const tooled = chat('tools');
await tooled.sendMessage({ text: 'tool' });
show('tool', tooled);
const call = tooled.lastMessage.parts.find((part) => part.type === 'tool-look');
await tooled.addToolResult({ tool: 'look', toolCallId: call.toolCallId, output: { seen: 3 } });
await tooled.sendMessage();
show('tool-output', tooled);

// A page that sends only what is new, as the SDK's documentation has it; the server remembers the rest.
const transport = new DefaultChatTransport({
  api,
  prepareSendMessagesRequest: ({ id, messages, trigger, messageId }) => ({
    body: { id, trigger, messageId, ...(trigger === 'submit-message' && { message: messages.at(-1) }) },
  }),
});
const remembered = chat('remembered', { transport });
await remembered.sendMessage({ text: 'r1' });
await remembered.sendMessage({ text: 'r2' });
await remembered.regenerate();
await remembered.sendMessage({ text: 'r2, edited', messageId: remembered.messages[2].id });
await remembered.sendMessage({ text: 'tool' });
const looked = remembered.lastMessage.parts.find((part) => part.type === 'tool-look');
await remembered.addToolResult({ tool: 'look', toolCallId: looked.toolCallId, output: { seen: 3 } });
await remembered.sendMessage();
await remembered.sendMessage({ text: 'r4' });
await remembered.regenerate({ messageId: remembered.messages[1].id });
show('remembered', remembered);
