import assert from 'node:assert/strict'
import { test } from 'node:test'

import { newDrawQueue } from '../../api/page/draw_queue.js'
import { loadMarkdown, loadMaths } from '../../api/page/assets/libraries.js'
import { newBlockReader } from '../../api/page/markdown_blocks.js'
import { newMarkdown } from '../../api/page/markdown_rules.js'
import { withoutHalf, withoutMarkers } from '../../api/page/markdown_unfinished.js'

const { MarkdownIt } = await loadMarkdown()
const { katex } = await loadMaths()
const maths = (source) => `<math>${source}</math>`
const newReader = () => newBlockReader(newMarkdown(MarkdownIt, maths))
const html = (text) => newReader().read(text, true).settled.join('')

const RICH = `# A title

Some *words* with \`code\`, **bold** and [a link](https://example.org/a?b=c).
A second line.

- one
- two

  with a second paragraph

  1. inner
  2. more

10. ten

| a | b |
|:--|--:|
| 1 | 2 |
| 3 | 4 |

\`\`\`python
def f():
    return 1

# not a heading
\`\`\`

> a quote
>
> of two paragraphs

$$
x^2

+ 1
$$

Setext
------

Costs $5 and $10, but $a+b$ is maths; so is \\(c\\).

***

    indented code

- [x] done
- [ ] open
`

/** The HTML at the end of a text that arrives in pieces of these lengths. */
function streamed(text, lengths) {
  const reader = newReader()
  let settled = ''
  let at = 0
  while (at < text.length) {
    at += lengths()
    settled += reader.read(text.slice(0, at), false).settled.join('')
  }
  return settled + reader.read(text, true).settled.join('')
}

function random(seed) {
  let state = seed
  return (limit) => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return 1 + (state % limit)
  }
}

test('however a text arrives, its blocks are those of the whole text', () => {
  const whole = html(RICH)
  assert.equal(streamed(RICH, () => 1), whole)
  for (let seed = 1; seed <= 30; seed += 1) {
    const next = random(seed)
    assert.equal(streamed(RICH, () => next(40)), whole, `seed ${seed}`)
    assert.equal(streamed(RICH.replaceAll('\n', '\r\n'), () => next(40)), whole, `seed ${seed}, CRLF`)
  }
})

test('a settled block is not parsed again, so a step costs its last block', () => {
  const md = newMarkdown(MarkdownIt, maths)
  const lengths = []
  const { parse } = md
  md.parse = (text, env) => {
    lengths.push(text.length)
    return parse.call(md, text, env)
  }
  const reader = newBlockReader(md)
  const text = 'A paragraph of some words.\n\n'.repeat(500)
  for (let at = 1; at < text.length; at += 7) reader.read(text.slice(0, at), false)
  assert.ok(Math.max(...lengths) < 100, `${Math.max(...lengths)}`)
})

test('a definition behind the links that it defines makes them links at the end', () => {
  const reader = newReader()
  const text = 'See [a].\n\nMore.\n\n[a]: https://example.org\n'
  reader.read(text.slice(0, 20), false)
  reader.read(text, true)
  assert.ok(reader.isStale())
  reader.rewind()
  assert.match(reader.read(text, true).settled[0], /<a href="https:\/\/example.org"/)
  assert.ok(!reader.isStale())
})

test('only http, https and mailto become links, and a picture is a link', () => {
  for (const address of ['javascript:alert(1)', 'data:text/html,x', 'vbscript:x', 'file:///etc', '//host/x', '/path', '#id', 'JaVaScRiPt:x', 'java\nscript:x', '&#106;avascript:x']) {
    assert.doesNotMatch(html(`[x](${address}) <${address}> ![x](${address})`), /<a|<img/, address)
  }
  assert.match(html('[x](https://e.org)'), /<a href="https:\/\/e.org" target="_blank" rel="noopener noreferrer nofollow">x<\/a>/)
  assert.match(html('![x](https://e.org/p.png)'), /<a href="https:\/\/e.org\/p.png"[^>]*>x<\/a>/)
  assert.doesNotMatch(html('see main.py or e.org'), /<a/)
})

test('cells are aligned by a class and never by a style', () => {
  const table = html('| a | b | c |\n|:-|:-:|-:|\n| 1 | 2 | 3 |\n')
  assert.match(table, /<td class="align-center">2/)
  assert.doesNotMatch(table, /style/)
})

test('headings follow the answer’s own, and no level is left out', () => {
  assert.deepEqual([...html('### a\n\n# b\n\n###### c\n\n## d').matchAll(/<(h\d) class="(level-\d)"/g)].map((found) => found.slice(1)), [
    ['h3', 'level-3'], ['h3', 'level-1'], ['h4', 'level-6'], ['h4', 'level-2'],
  ])
})

test('maths is found, and money is not', () => {
  for (const text of ['$a$', '$$a$$', '\\(a\\)', '\\[a\\]', '$$\na\n$$', '\\[\na\n\\]', '```math\na\n```', '$\\alpha_1$']) {
    assert.match(html(text), /<math>/, text)
  }
  for (const text of ['$5 and $10', 'a $ b $ c', '`$a$`', '\\$a$', '$', '$$', '```\n$a$\n```', '$a']) assert.doesNotMatch(html(text), /<math>/, text)
})

test('maths is MathML without styles', () => {
  const drawn = katex.renderToString('\\frac{a}{b}', { output: 'mathml' })
  assert.match(drawn, /<mfrac>/)
  assert.doesNotMatch(drawn, /style=/)
})

test('markers without words, and the head of a table, are hidden while they are written', () => {
  for (const [text, shown] of [
    ['a\n-', 'a\n'], ['a\n##', 'a\n'], ['a\n``', 'a\n'], ['a\n\n12.', 'a\n\n'], ['a\n> -', 'a\n'], ['a\n| b | c |', 'a\n'],
    ['a\n| b | c |\n|--', 'a\n'], ['|', ''], ['a - ', 'a - '], ['a\n- b', 'a\n- b'], ['| a |\n|---|\n| b', '| a |\n|---|\n| b'], ['a\n\n', 'a\n\n'],
  ]) assert.equal(withoutMarkers(text), shown, JSON.stringify(text))
})

test('bold text, code and links look finished while they are written', () => {
  for (const [text, shown] of [
    ['a **b', 'a **b**'], ['a **', 'a '], ['a **b*', 'a **b**'], ['a `b', 'a `b`'], ['a `', 'a '], ['a **b** c', 'a **b** c'],
    ['[a](https://e', 'a'], ['[a](https://e.org)', '[a](https://e.org)'], ['a[0]', 'a[0]'], ['`**`', '`**`'], ['plain', 'plain'],
  ]) assert.equal(withoutHalf(text), shown, JSON.stringify(text))
})

test('no text makes the parser hang', () => { // the test runner ends one that does
  const patterns = ['>', '[', '![', '*a_ ', '**a ', '`', '``a`', '$a ', '$$a\n', '\\(', '\\[\n', '- ', '1. ', '|a', '| - |\n', '<', '&', '[a](', '[a]: b\n',
    'https://', '~~', '# ', '\n', '\\', '](', '_', '***', 'a@b.c ', '   > - ', '“”', '```\n', '[[a]', '<a ']
  for (const pattern of patterns) {
    const text = pattern.repeat(Math.ceil(30_000 / pattern.length))
    const reader = newReader()
    reader.read(text.slice(0, 25_000), false)
    reader.read(text, true)
  }
})

/** A queue on a clock of its own: `pass()` lets the time pass until the queue works on. */
function queueOnClock() {
  const runs = []
  const clock = { now: 0 }
  const queue = newDrawQueue({ later: (run, ms) => runs.push({ run, at: clock.now + ms }), now: () => clock.now })
  const pass = () => {
    const { run, at } = runs.shift()
    clock.now = Math.max(clock.now, at)
    run()
  }
  return { queue, clock, runs, pass }
}

test('the newest work comes first, and no slice of it takes longer than its budget', () => {
  const { queue, clock, runs, pass } = queueOnClock()
  const done = []
  const jobs = ['a', 'b', 'c'].map((name) => () => {
    done.push(name)
    clock.now += 5
  })
  for (const job of [...jobs, jobs[0]]) queue.add(job)
  assert.equal(runs.length, 1)
  pass()
  assert.deepEqual(done, ['a', 'c'])
  pass()
  assert.deepEqual([done, runs.length], [['a', 'c', 'b'], 0])
})

test('while more comes, nothing older is drawn, but the wait has an end', () => {
  const { queue, clock, runs, pass } = queueOnClock()
  const done = []
  for (const number of Array(20).keys()) {
    queue.add(() => done.push({ number, at: clock.now }))
    clock.now += 20
    while (runs[0]?.at <= clock.now) pass()
  }
  const [first] = done
  assert.equal(first.at, 200)
  assert.equal(first.number, 9)
})

test('what a piece of work adds comes at once', () => {
  const { queue, clock, pass } = queueOnClock()
  const done = []
  queue.add(() => {
    clock.now += 10
    queue.add(() => done.push(clock.now))
  })
  pass()
  pass()
  assert.deepEqual(done, [40])
})
