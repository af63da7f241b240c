import assert from 'node:assert/strict'
import { test } from 'node:test'

import { completionsOf, parseCommand } from '../../api/page/command_line.js'

const QUESTIONS = [
  'help me with a regex', 'history of Rome', 'clear skies ahead?', 'shortcut to Narnia', 'Help', 'gpt models are great?',
  'gpt role of the king', 'gpt model names please', 'gpt help me', 'gpt history of Rome', 'gptchat hi', '/etc/passwd is what?',
  '/usr', '/unknown', 'what is gpt chat hi', 'chat hi', '', '  ',
]
const COMMANDS = [
  ['help', { name: 'help' }], [' help\n', { name: 'help' }], ['/help', { name: 'help' }], ['gpt help', { name: 'help' }],
  ['gpt', { name: 'help' }], ['/', { name: 'help' }], ['clear', { name: 'clear' }], ['/clear', { name: 'clear' }],
  ['shortcut', { name: 'shortcut' }], ['history', { name: 'history', page: 1 }], ['gpt history', { name: 'history', page: 1 }],
  ['gpt history -p 3', { name: 'history', page: 3 }], ['gpt role', { name: 'role', choice: null }],
  ['gpt role sql', { name: 'role', choice: 'sql' }], ['/role sql', { name: 'role', choice: 'sql' }],
  ['gpt model', { name: 'model', choice: null }], ['gpt model gpt-5-mini', { name: 'model', choice: 'gpt-5-mini' }],
  ['gpt image a cat', { name: 'image' }], ['gpt image', { name: 'image' }],
  ['gpt chat hi there', { name: 'chat', message: 'hi there' }], ['/chat hi', { name: 'chat', message: 'hi' }],
  ['gpt chat -r sql all users', { name: 'chat', message: 'all users', role: 'sql' }],
  ['gpt chat all users -r sql -t 0.5 -m m1', { name: 'chat', message: 'all users', role: 'sql', temperature: 0.5, model: 'm1' }],
  ['gpt chat -t 0 one\n  two', { name: 'chat', message: 'one\n  two', temperature: 0 }],
  ['gpt chat --role sql hi', { name: 'chat', message: 'hi', role: 'sql' }],
  ['gpt chat rm -r folder deletes?', { name: 'chat', message: 'rm -r folder deletes?' }],
  ['gpt chat -- what does rm -r x', { name: 'chat', message: 'what does rm -r x' }],
  ['gpt diy -k pirate -n "A pirate" -d \'Talk like a pirate.\'',
    { name: 'diy', keyword: 'pirate', title: 'A pirate', description: 'Talk like a pirate.', file: null }],
  ['gpt diy -k pirate\n# SYSTEM\nArr.', { name: 'diy', keyword: 'pirate', title: 'pirate', description: 'pirate', file: '# SYSTEM\nArr.' }],
]
const PROBLEMS = [
  ['gpt chat', /Write a message/], ['gpt chat -t 3 hi', /0 to 2/], ['gpt chat -t hot hi', /0 to 2, not hot/],
  ['gpt chat hi -r', /value after the option for role/], ['gpt history -p 0', /number of a page/], ['gpt diy', /gpt diy -k/],
  ['gpt diy -k x', /gpt diy -k/], ['gpt diy -k "A B" -d c', /-k takes/], ['gpt diy -k default -d c', /-k takes/],
]
const KNOWN = { roles: [{ name: 'sql', description: 'Writes SQL' }, { name: 'cli' }], models: [{ name: 'm1' }, { name: 'm2' }] }

test('text that only begins like a command is a question', () => {
  for (const text of QUESTIONS) assert.equal(parseCommand(text), null, text)
})

test('each command is read with its options', () => {
  for (const [text, command] of COMMANDS) assert.deepEqual(parseCommand(text), command, text)
})

test('a mistake in a command names what to type', () => {
  for (const [text, words] of PROBLEMS) assert.match(parseCommand(text).problem, words, text)
})

test('hostile text is parsed in a moment', () => {
  const since = performance.now()
  for (const text of [`gpt chat ${' -r'.repeat(5_000)}`, `gpt chat ${'"'.repeat(20_000)}`, `gpt diy ${'-k '.repeat(5_000)}`]) parseCommand(text)
  assert.ok(performance.now() - since < 2_000)
})

test('tab completes commands, roles and models, and nothing in a question', () => {
  const texts = (text) => completionsOf(text, KNOWN).map((one) => one.text)
  assert.deepEqual(texts('gpt r'), ['gpt role '])
  assert.deepEqual(texts('/cl'), ['/clear'])
  assert.deepEqual(texts('gpt'), ['gpt '])
  assert.deepEqual(texts('gpt role '), ['gpt role sql', 'gpt role cli'])
  assert.deepEqual(texts('gpt chat -r s'), ['gpt chat -r sql '])
  assert.deepEqual(texts('gpt chat hi -m '), ['gpt chat hi -m m1 ', 'gpt chat hi -m m2 '])
  assert.deepEqual(texts('gpt model m1'), [])
  for (const text of ['', 'hello', 'help me', 'gpt is\n', 'role ']) assert.deepEqual(texts(text), [], text)
})
