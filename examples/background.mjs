// A background response: followed, interrupted in the middle, and resumed at the same event.
//
// npm install openai
// OPENAI_BASE_URL=http://127.0.0.1:8000/v1 OPENAI_API_KEY=none node examples/background.mjs "Tell me!"

import OpenAI from 'openai';

const client = new OpenAI();
const model = (await client.models.list()).data[0].id;

let id;
let lastSeen;
const stream = await client.responses.create({
  model, input: process.argv[2], background: true, stream: true,
});
for await (const event of stream) {
  lastSeen = event.sequence_number;
  if (event.type === 'response.created') {
    id = event.response.id;
  } else if (event.type === 'response.output_text.delta') {
    process.stdout.write(event.delta);
    break; // as if the connection were lost here
  }
}

// Any API process can serve the rest.
const rest = await client.responses.retrieve(id, { stream: true, starting_after: lastSeen });
for await (const event of rest) {
  if (event.type === 'response.output_text.delta') {
    process.stdout.write(event.delta);
  } else if (['response.failed', 'response.incomplete'].includes(event.type)) {
    throw new Error(event.type);
  }
}
console.log();

const shorter = await client.responses.create({
  model, input: 'Say it in fewer words.', previous_response_id: id,
});
console.log(shorter.output_text);
