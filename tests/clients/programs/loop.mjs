// What the Node programs share: the targets, the tool, and a line of JSON for each loop.

const program = JSON.parse(process.env.PROGRAM);
export const question = program.question;
const called = [];

export const parameters = {
  type: 'object',
  properties: { a: { type: 'integer' }, b: { type: 'integer' } },
  required: ['a', 'b'],
  additionalProperties: false,
};

export function add({ a, b }) {
  called.push({ a, b });
  return a + b;
}

// Run the loop of each target's wire, and print what became of it.
export async function run(loops) {
  for (const { family, wire, url } of program.targets) {
    called.length = 0;
    const found = { family, wire };
    let timer;
    try {
      const late = new Promise((_, refuse) => {
        timer = setTimeout(() => refuse(new Error('never ended')), 20_000);
      });
      found.text = await Promise.race([loops[wire](url), late]);
    } catch (error) {
      found.error = `${error.constructor.name}: ${error.message}`.slice(0, 600);
    }
    clearTimeout(timer);
    found.called = called.toSorted((one, other) => one.a - other.a);
    console.log(JSON.stringify(found));
  }
  process.exit(0);
}
