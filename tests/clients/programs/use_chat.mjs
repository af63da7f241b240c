// The AI SDK's chat in a page, whose tools run in the page.

import { Chat } from '@ai-sdk/react';
import { DefaultChatTransport, lastAssistantMessageIsCompleteWithToolCalls } from 'ai';
import { add, parameters, question, run } from './loop.mjs';

const definition = { name: 'add', description: 'Add two numbers.', parameters };
const body = { tools: [{ type: 'function', function: definition }] };

async function useChat(url) {
  let failure;
  const chat = new Chat({
    transport: new DefaultChatTransport({ api: `${url}/api/chat`, body }),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithToolCalls,
    onError: (error) => { failure = error; },
    onToolCall({ toolCall }) {
      // Not awaited: the output can only be added when the call is part of the message.
      const output = add(toolCall.input);
      void chat.addToolResult({ tool: 'add', toolCallId: toolCall.toolCallId, output });
    },
  });
  await chat.sendMessage({ text: question });
  await answered(chat, 2, () => failure);
  await chat.sendMessage({ text: 'Say that again.' });
  await answered(chat, 4, () => failure);
  return chat.lastMessage.parts.at(-1).text;
}

// The client sends the outputs by itself, so that nothing can be awaited.
async function answered(chat, messages, failure) {
  for (let tries = 0; tries < 1000; tries += 1) {
    if (failure()) throw failure();
    const last = chat.lastMessage.parts.at(-1);
    const isWhole = chat.messages.length === messages && last.type === 'text';
    if (chat.status === 'ready' && isWhole && last.text.startsWith('They')) return;
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`no answer: ${JSON.stringify(chat.lastMessage.parts)}`);
}

await run({ 'use-chat': useChat });
