// OpenAI's Node client against two processes of a running API. Prints what it found as JSON.

import OpenAI from 'openai';

const client = (url) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k', maxRetries: 0 });
const one = client(process.env.FIRST_URL);
const other = client(process.env.SECOND_URL);
const model = 'm';
const found = {};

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

async function said(name, call) {
  try {
    found[name] = await call();
  } catch (error) {
    found[name] = { error: error.constructor.name, status: error.status ?? null, message: error.message };
  }
}

// A background stream, cut after every event there is, and resumed at another process.
const live = await all(
  await one.responses.create({ model, input: 'fifty', background: true, stream: true }),
);
const id = live[0].response.id;
const whole = JSON.stringify(live);
let same = 0;
for (let cut = 0; cut < live.length; cut += 1) {
  const head = [];
  for await (const event of await one.responses.retrieve(id, { stream: true })) {
    head.push(event);
    if (event.sequence_number === cut) break;
  }
  const tail = await all(await other.responses.retrieve(id, { stream: true, starting_after: cut }));
  same += JSON.stringify([...head, ...tail]) === whole ? 1 : 0;
}
found.cuts = {
  events: live.length,
  same,
  contiguous: live.every((event, number) => event.sequence_number === number),
  deltas: live.filter((event) => event.type === 'response.output_text.delta').length,
  text: live.at(-1).response.output_text ?? live.at(-1).response.output[0].content[0].text,
};

const helper = await other.responses.stream({ response_id: id, starting_after: 3 }).finalResponse();
found.helper = helper.output_text;

// Cancelled: what there is stays.
const stream = await one.responses.create({ model, input: 'endless', background: true, stream: true });
let endless;
for await (const event of stream) {
  endless = event.response?.id ?? endless;
  if (event.type === 'response.output_text.delta') break;
}
const cancelled = await other.responses.cancel(endless);
const again = await one.responses.cancel(endless);
const kept = await one.responses.retrieve(endless);
found.cancelled = [cancelled.status, again.status, kept.status, kept.output_text];

await said('chat', async () => {
  const messages = [{ role: 'user', content: 'hello' }];
  const runner = one.chat.completions.stream({ model, messages });
  return (await runner.finalChatCompletion()).choices[0].message.content;
});
await said('models', async () => (await one.models.list()).data.map((each) => each.id));
await said('early', () => one.chat.completions.create({
  model, messages: [{ role: 'user', content: 'reject' }], stream: true,
}));
await said('middle', async () => all(await one.chat.completions.create({
  model, messages: [{ role: 'user', content: 'break' }], stream: true,
})));
await said('missing', () => one.responses.retrieve('resp_nothing'));

console.log(JSON.stringify(found));
