// Chat Completions with OpenAI's client: a whole answer, then a streamed one.
//
// npm install openai
// OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none node examples/chat.mjs "Why is it blue?"

import OpenAI from 'openai';

const client = new OpenAI();
const model = (await client.models.list()).data[0].id;
const messages = [{ role: 'user', content: process.argv[2] }];

const answer = await client.chat.completions.create({ model, messages });
console.log(answer.choices[0].message.content);

const stream = await client.chat.completions.create({ model, messages, stream: true });
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0].delta.content ?? '');
}
console.log();
