import assert from 'node:assert/strict'
import { test } from 'node:test'

import { choicesOf, fieldsOf } from '../../api/page/choices.js'
import { keptOf, newKept } from '../../api/page/kept.js'
import { choicesOfLink } from '../../api/page/link_choices.js'
import { messagesOfFile, messagesToSend, roleOfCommand } from '../../api/page/own_roles.js'
import { newRecall } from '../../api/page/recall.js'

function memory() {
  const values = new Map()
  return { getItem: (name) => values.get(name) ?? null, setItem: (name, value) => values.set(name, value), removeItem: (name) => values.delete(name), values }
}

test('arrow-up walks back through the questions, arrow-down returns to the draft', () => {
  const { up, down } = newRecall(() => ['one', 'two'])
  assert.equal(down(''), null)
  assert.equal(up(''), 'two')
  assert.equal(up('two'), 'one')
  assert.equal(up('one'), null)
  assert.equal(down('one'), 'two')
  assert.equal(down('two'), '')
  assert.equal(down(''), null)
})

test('arrow-up in a text of the reader is for the cursor', () => {
  const { up } = newRecall(() => ['one'])
  assert.equal(up('a draft'), null)
  assert.equal(up(''), 'one')
  assert.equal(up('one, changed'), null)
})

test('drafts belong to their conversation, and nothing stays of an empty one', () => {
  const storage = memory()
  const [a, b] = ['a', 'b'].map((id) => keptOf(id, newKept(storage)))
  a.set('draft', 'for a')
  b.set('draft', 'for b')
  assert.deepEqual([a.get('draft'), b.get('draft')], ['for a', 'for b'])
  a.set('draft', '')
  b.set('draft', null)
  assert.equal(storage.values.size, 0)
})

test('the browser keeps the fifty conversations written last', () => {
  const kept = newKept(memory())
  for (let n = 0; n < 60; n += 1) keptOf(`c${n}`, kept).set('draft', `${n}`)
  assert.deepEqual(Object.keys(kept.get('conversations')), Array.from({ length: 50 }, (_, n) => `c${n + 10}`))
})

test('a browser without storage, and what another program wrote there, read as nothing', () => {
  assert.equal(newKept(null).get('x'), null)
  newKept(null).set('x', 1)
  assert.equal(newKept({ getItem: () => 'not JSON' }).get('x'), null)
  newKept({ setItem: () => { throw new Error('full') } }).set('x', 1)
})

test('the choices of a conversation are those of its latest request', () => {
  const nothing = { role: null, variables: {}, model: null, temperature: null }
  assert.deepEqual(choicesOf([]), nothing)
  assert.deepEqual(choicesOf([{ role: 'sql' }, { role: 'cli' }]), { ...nothing, role: 'cli' })
  assert.deepEqual(choicesOf([{ role: 'sql' }, { role: null }]), nothing)
  const summary = { role: 'cli', model: 'm', temperature: 0, variables: { A: 'b' } }
  assert.deepEqual(choicesOf([{ role: 'cli' }], summary), summary)
  assert.deepEqual(choicesOf([{ role: null }], summary), nothing)
  assert.deepEqual(choicesOf([{ role: 'x', chosen: { model: 'm2' } }], summary), { ...nothing, role: 'x', model: 'm2' })
})

test('only what is chosen is sent', () => {
  assert.deepEqual(fieldsOf({ role: null, variables: { A: 'b' }, model: null, temperature: null }), {})
  const all = { role: 'r', variables: { A: 'b' }, model: 'm', temperature: 0 }
  assert.deepEqual(fieldsOf(all), all)
})

test('a role file of one’s own becomes messages', () => {
  assert.deepEqual(messagesOfFile('# SYSTEM\r\nBe kind.\n\n# USER\nHi\n# ASSISTANT\n  Yo\n'), [
    { role: 'system', content: 'Be kind.' }, { role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Yo' },
  ])
  assert.deepEqual(messagesOfFile('Be kind.'), [{ role: 'system', content: 'Be kind.' }])
})

test('the messages of one’s own role go out once in a conversation', () => {
  const role = roleOfCommand({ keyword: 'k', title: 'K', description: 'Be kind.', file: null })
  const first = messagesToSend(role, 'Hi', [])
  assert.deepEqual(first, [{ role: 'system', content: 'Be kind.' }, { role: 'user', content: 'Hi' }])
  assert.deepEqual(messagesToSend(role, 'More', [{ messages: first }]), [{ role: 'user', content: 'More' }])
})

test('a link carries a role, a model and a temperature that the server could take', () => {
  const choices = (query) => choicesOfLink(`https://x/?c=1&${query}`)
  assert.deepEqual(choices('role=sql&model=m&temperature=0'), { role: 'sql', model: 'm', temperature: 0 })
  assert.deepEqual(choices(''), { role: null, model: null, temperature: null })
  for (const odd of ['-1', '2.1', 'x', '', 'NaN']) assert.equal(choices(`temperature=${odd}`).temperature, null)
  assert.equal(choices(`model=${'m'.repeat(999)}`).model.length, 200)
})
