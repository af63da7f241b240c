import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fold, newConversation } from '../../client/javascript/fold.js'
import { KeptEvents } from '../../client/javascript/kept_events.js'

const REWIND = { kind: 'rewind', id: '', data: {} }
const event = (kind, request, id, data = {}) => ({ kind, id: id && `${request}:${id}`, data: { request_id: request, ...data } })
const delta = (request, seq, text, more = {}) => event('delta', request, `1-${seq}`, { text, ...more })
const folded = (events, state = newConversation('c')) => events.reduce(fold, state)

/** The state of a tab that read everything, and of one that joins now. */
function bothStates(events) {
  const kept = new KeptEvents()
  const sent = events.map((one) => kept.take(one)).filter(Boolean)
  return { early: folded(sent), late: folded([REWIND, ...kept.events]), kept, sent }
}

const LOG = [
  event('watchers', undefined, '', { count: 1 }),
  event('queued', 'r1', '1-0', { messages: [{ role: 'user', content: 'Hi?' }], parent_id: null }),
  event('position', 'r1', '', { position: 3 }), event('position', 'r1', '', { position: 2 }),
  event('started', 'r1', '1-1', { n: 1 }), delta('r1', 2, 'lost '), event('reset', 'r1', '2-0', { n: 2 }),
  event('reasoning', 'r1', '2-1', { text: 'think ' }), event('reasoning', 'r1', '2-2', { text: 'hard' }),
  delta('r1', 3, 'one '), delta('r1', 4, 'two ', { x: { logprobs: 1 } }), delta('r1', 5, 'three '), delta('r1', 6, 'four'),
  event('tool_call', 'r1', '2-7', { index: 0, id: 't', name: 'f', arguments: '{' }),
  event('tool_call', 'r1', '2-8', { index: 0, arguments: '}' }),
  event('completed', 'r1', '2-9', { finish_reason: 'stop' }),
  event('queued', 'r2', '3-0', { messages: [], parent_id: 'r1' }), event('started', 'r2', '3-1', { n: 1 }),
  delta('r2', 2, 'a'), delta('r2', 3, 'b'),
  event('watchers', undefined, '', { count: 2 }),
  event('erased', 'r1', ''),
  event('rewind', 'r2', ''), event('queued', 'r2', '3-0', { messages: [], parent_id: 'r1' }), event('started', 'r2', '4-0', { n: 2 }),
  delta('r2', 1, 'again'), event('cancelled', 'r2', '4-2'),
  event('queued', 'r3', '5-0', { messages: [], parent_id: 'r2' }),
]

test('a tab that joins late has the state of one that read everything, wherever it joins', () => {
  for (let at = 0; at <= LOG.length; at += 1) {
    const { early, late } = bothStates(LOG.slice(0, at))
    assert.deepEqual(late.requests, early.requests, `joined after ${at}`)
  }
})

test('an answer of any length is a few events', () => {
  const pieces = Array.from({ length: 1_000 }, (_, number) => delta('r1', number, 'word '))
  const { kept } = bothStates([event('started', 'r1', '1-0', { n: 1 }), ...pieces])
  assert.equal(kept.events.length, 2)
  assert.equal(kept.events[1].data.text, 'word '.repeat(1_000))
  assert.equal(kept.cursor, 'r1:1-999')
})

test('what was handed on is not changed by what follows', () => {
  const { sent } = bothStates([delta('r1', 1, 'a'), delta('r1', 2, 'b')])
  assert.deepEqual(sent.map(({ data }) => data.text), ['a', 'b'])
})

test('the id of another conversation is no cursor', () => {
  const kept = new KeptEvents()
  const given = kept.take({ kind: 'position', id: 'other:1-7', data: { request_id: 'r1', position: 1 } })
  assert.equal(given.id, '')
  assert.equal(kept.cursor, null)
})

test('an expired answer that comes again with each connection is kept and handed on once', () => {
  const expired = [event('queued', 'r1', '', { messages: [] }), event('snapshot', 'r1', '', { text: 'old', status: 'completed', n: 1 })]
  const { sent, kept } = bothStates([...expired, ...expired])
  assert.equal(sent.length, 2)
  assert.equal(kept.events.length, 2)
})

test('a rewind of the conversation forgets all requests and the cursor, and keeps what no replay brings', () => {
  const { kept, early } = bothStates([...LOG, { kind: 'rewind', id: 'r2:4-2', data: { reason: 'forgotten' } }])
  assert.deepEqual([kept.events.map(({ kind }) => kind), kept.cursor, early.requests], [['watchers'], null, []])
})

test('notices about the conversation are kept, whatever request is read at the time', () => {
  const notice = (kind, data) => ({ kind, id: '', data: { request_id: 'r1', ...data } })
  const { kept, late } = bothStates([
    ...LOG, notice('watchers', { count: 3 }), notice('title', { title: 'Rom' }), notice('watchers', { count: 4 }),
    notice('title', { title: 'Rome' }),
  ])
  assert.deepEqual([late.watchers, late.title], [4, 'Rome'])
  assert.equal(kept.events.filter(({ kind }) => kind === 'title').length, 1)
})

test('of an erased turn only its place is kept', () => {
  const { kept } = bothStates(LOG)
  assert.ok(!JSON.stringify(kept.events).includes('Hi?'))
  assert.ok(!JSON.stringify(kept.events).includes('three'))
})
