// OpenAI's Node client: chat completions and Responses, whole and streamed.

import OpenAI from 'openai';
import { add, parameters, question, run } from './loop.mjs';

const definition = { name: 'add', description: 'Add two numbers.', parameters };
const again = { role: 'user', content: 'Say that again.' };
const client = (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k', maxRetries: 0 });

function output(call) {
  const content = String(add(JSON.parse(call.function.arguments)));
  return { role: 'tool', tool_call_id: call.id, content };
}

// Each answer whole, and given back as the object that it came as.
async function chat(url) {
  const messages = [
    { role: 'developer', content: 'Be short.' },
    { role: 'user', content: question },
  ];
  const tools = [{ type: 'function', function: definition }];
  for (;;) {
    const done = await client(url).chat.completions.create({
      model: 'm', messages, tools, max_completion_tokens: 400,
    });
    const { message } = done.choices[0];
    if (!message.tool_calls && messages.includes(again)) return message.content;
    messages.push(message, ...(message.tool_calls?.map(output) ?? [again]));
  }
}

// The client's own loop over its streams.
async function chatStream(url) {
  const tool = { ...definition, function: (input) => String(add(input)), parse: JSON.parse };
  const runner = client(url).chat.completions.runTools({
    model: 'm',
    stream: true,
    messages: [{ role: 'user', content: question }],
    tools: [{ type: 'function', function: tool }],
  });
  return runner.finalContent();
}

const tools = [{ type: 'function', strict: true, ...definition }];

function itemOutputs(items) {
  return items.filter((item) => item.type === 'function_call').map((item) => ({
    type: 'function_call_output',
    call_id: item.call_id,
    output: String(add(JSON.parse(item.arguments))),
  }));
}

// The history is the client's.
async function responses(url) {
  const input = [{ role: 'user', content: question }];
  for (;;) {
    const done = await client(url).responses.create({
      model: 'm', input, tools, store: false, include: ['reasoning.encrypted_content'],
    });
    const outputs = itemOutputs(done.output);
    if (!outputs.length && input.includes(again)) return done.output_text;
    input.push(...done.output, ...(outputs.length ? outputs : [again]));
  }
}

// The history is the server's.
async function responsesStream(url) {
  let input = [{ role: 'user', content: question }];
  let previous;
  for (;;) {
    const stream = client(url).responses.stream({
      model: 'm', input, tools, previous_response_id: previous, instructions: 'Be short.',
    });
    const done = await stream.finalResponse();
    input = itemOutputs(done.output);
    if (!input.length) return done.output_text;
    previous = done.id;
  }
}

await run({
  chat, 'chat-stream': chatStream, responses, 'responses-stream': responsesStream,
});
