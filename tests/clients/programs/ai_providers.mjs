// The AI SDK's own loop with its providers: @ai-sdk/openai-compatible and @ai-sdk/openai.

import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';
import { add, question, run } from './loop.mjs';

const tools = {
  add: tool({
    description: 'Add two numbers.',
    inputSchema: z.object({ a: z.number(), b: z.number() }),
    execute: async (input) => add(input),
  }),
};

const compatible = (url) =>
  createOpenAICompatible({ name: 'here', baseURL: `${url}/v1`, apiKey: 'k' }).chatModel('m');
const chat = (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'k' }).chat('m');
const responses = (url) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'k' }).responses('m');

function whole(model, options = {}) {
  return async (url) => {
    const done = await generateText({
      model: model(url), tools, prompt: question, stopWhen: stepCountIs(4), maxRetries: 0,
      ...options,
    });
    return done.text;
  };
}

function streamed(model, options = {}) {
  return async (url) => {
    let failure;
    const done = streamText({
      model: model(url), tools, prompt: question, stopWhen: stepCountIs(4), maxRetries: 0,
      onError: ({ error }) => { failure = error; },
      ...options,
    });
    await done.consumeStream();
    if (failure) throw failure;
    return done.text;
  };
}

const stateless = { providerOptions: { openai: { store: false } } };

await run({
  compatible: whole(compatible, { maxOutputTokens: 400 }),
  'compatible-stream': streamed(compatible),
  chat: whole(chat, { maxOutputTokens: 400 }),
  'chat-stream': streamed(chat),
  responses: whole(responses, { ...stateless, maxOutputTokens: 400 }),
  'responses-stream': streamed(responses, stateless),
});
