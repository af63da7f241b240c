import assert from 'node:assert/strict'
import { test } from 'node:test'

import { expectRequest, fold, isOver, newConversation, newRequest } from '../../client/javascript/fold.js'

const event = (kind, data = {}, id = '') => ({ kind, data, id })
const foldAll = (events, state = newRequest('r1')) => events.reduce((before, one) => fold(freeze(before), one), state)

/** A fold that changed the state it was given would throw: modules are strict. */
function freeze(value) {
  if (value && typeof value === 'object' && !Object.isFrozen(value)) Object.values(Object.freeze(value)).forEach(freeze)
  return value
}

const OPENED = [event('queued', { messages: [{ role: 'user', content: 'Hi' }], role: 'pirate' }, '5-0'), event('started', { n: 1, model: 'm' }, '6-0')]

test('the text of an answer is its deltas in order, repeated words and all', () => {
  const state = foldAll([...OPENED, event('delta', { text: 'ha ' }, '6-1'), event('delta', { text: 'ha ' }, '6-2')])
  assert.equal(state.text, 'ha ha ')
  assert.equal(state.status, 'running')
  assert.equal(state.cursor, '6-2')
  assert.equal(state.model, 'm')
  assert.equal(state.role, 'pirate')
})

for (const kind of ['started', 'reset']) {
  test(`${kind} clears the output of the attempt before`, () => {
    const written = ['delta', 'reasoning', 'refusal'].map((output) => event(output, { text: 'old' }))
    const call = event('tool_call', { index: 0, id: 'c', name: 'f', arguments: '{' })
    const state = foldAll([...OPENED, ...written, call, event(kind, { n: 2 }, '7-0'), event('delta', { text: 'new' }, '7-1')])
    assert.deepEqual([state.text, state.reasoning, state.refusal, state.toolCalls], ['new', '', '', []])
    assert.equal(state.n, 2)
    assert.equal(state.interruption, kind === 'reset' ? 'reset' : null)
  })
}

test('resumed keeps the text and goes on', () => {
  const state = foldAll([...OPENED, event('delta', { text: 'one ' }), event('resumed', { n: 2 }), event('delta', { text: 'two' })])
  assert.equal(state.text, 'one two')
  assert.equal(state.interruption, 'resumed')
})

test('a snapshot sets everything and deltas add to it', () => {
  const calls = [{ index: 0, id: 'c', name: 'f', arguments: '{}' }]
  const snapshot = { text: 'so far', reasoning: 'hm', refusal: '', tool_calls: calls, status: 'running', n: 3 }
  const state = foldAll([event('snapshot', snapshot, '9-4'), event('delta', { text: ' and on' }, '9-5')])
  assert.equal(state.text, 'so far and on')
  assert.deepEqual([state.reasoning, state.toolCalls, state.n, state.cursor], ['hm', calls, 3, '9-5'])
})

test('what is left of a stopped answer whose log has expired is shown, and is over', () => {
  const left = { text: 'half', status: 'cancelled', n: 1 }
  const state = foldAll([event('queued', { messages: [] }), event('snapshot', left), event('gone')])
  assert.deepEqual([state.text, state.status, isOver(state)], ['half', 'cancelled', true])
})

test('a rewind clears the answer and its cursor, and keeps the question', () => {
  const state = foldAll([...OPENED, event('delta', { text: 'lost' }, '6-1'), event('rewind', { reason: 'trimmed' })])
  assert.deepEqual([state.text, state.cursor, state.status], ['', null, 'queued'])
  assert.equal(state.messages[0].content, 'Hi')
})

test('a replay after a rewind gives the text again, once, even of a request that had ended', () => {
  const log = [...OPENED, event('delta', { text: 'all of it' }, '6-1'), event('completed', { finish_reason: 'stop' }, '6-2')]
  assert.deepEqual(foldAll([...log, event('rewind'), ...log]), foldAll(log))
})

for (const kind of ['completed', 'failed', 'cancelled', 'gone']) {
  test(`nothing follows ${kind}`, () => {
    const ended = foldAll([...OPENED, event('delta', { text: 'text' }), event(kind, { code: 'c', message: 'm', retryable: true })])
    assert.equal(ended.status, kind)
    assert.ok(isOver(ended))
    assert.equal(fold(ended, event('delta', { text: 'late' })), ended)
    assert.equal(ended.text, 'text')
  })
}

test('an end tells why: finish reason and usage, or the error', () => {
  const usage = { completion_tokens: 2 }
  const completed = foldAll([...OPENED, event('completed', { finish_reason: 'length', usage, sha256: 'ab' })])
  assert.deepEqual([completed.finishReason, completed.usage, completed.sha256], ['length', usage, 'ab'])
  const error = { code: 'upstream_error', message: 'no', retryable: true }
  assert.deepEqual(foldAll([...OPENED, event('failed', error)]).error, error)
})

test('place in line and waiting show until the request runs', () => {
  const inLine = foldAll([OPENED[0], event('position', { position: 3 })])
  assert.deepEqual([inLine.position, inLine.cursor], [3, '5-0'])
  const waiting = fold(inLine, event('waiting', { until: 99, reason: 'upstream_rate_limited' }))
  assert.deepEqual([waiting.position, waiting.waiting.until, waiting.status], [null, 99, 'queued'])
  const running = fold(waiting, OPENED[1])
  assert.deepEqual([running.position, running.waiting, running.status], [null, null, 'running'])
})

test('tool calls are put together from their pieces by index', () => {
  const state = foldAll([
    ...OPENED,
    event('tool_call', { index: 1, id: 'b', name: 'second', arguments: '' }),
    event('tool_call', { index: 0, id: 'a', name: 'first', arguments: '{"x"' }),
    event('tool_call', { index: 0, arguments: ':1}' }),
  ])
  assert.deepEqual(state.toolCalls, [
    { index: 0, id: 'a', name: 'first', arguments: '{"x":1}' }, { index: 1, id: 'b', name: 'second', arguments: '' },
  ])
})

test('what names a tool call is set once, and its type and provider fields are kept', () => {
  const x = { extra_content: { signature: 's' } }
  const state = foldAll([
    ...OPENED,
    event('tool_call', { index: 0, id: 'a', type: 'custom', name: 'f', arguments: '', x }),
    event('tool_call', { index: 0, id: 'b', name: 'f', arguments: 'ls' }),
  ])
  assert.deepEqual(state.toolCalls, [{ index: 0, id: 'a', type: 'custom', name: 'f', arguments: 'ls', x }])
})

test('kinds that are not known, also those that every object has, change nothing', () => {
  const state = foldAll(OPENED)
  for (const kind of ['news', 'constructor', 'toString', '__proto__']) assert.equal(fold(state, event(kind, { text: 'x' }, '9-9')), state)
})

const about = (requestId, kind, data = {}, seq = '') =>
  event(kind, { request_id: requestId, ...data }, seq === '' ? '' : `${requestId}:1-${seq}`)
const ask = (requestId, content) => about(requestId, 'queued', { messages: [{ role: 'user', content }], role: null }, 0)
const texts = (conversation) => conversation.requests.map(({ requestId, text }) => [requestId, text])

test('a conversation shows each request with its question, in the order of the log', () => {
  const state = foldAll([
    ask('a', 'One?'), about('a', 'started', { n: 1 }, 1), about('a', 'delta', { text: 'one' }, 2),
    about('a', 'completed', {}, 3), ask('b', 'Two?'), about('b', 'started', { n: 1 }, 1), about('b', 'delta', { text: 'two' }, 2),
  ], newConversation('c'))
  assert.deepEqual(texts(state), [['a', 'one'], ['b', 'two']])
  assert.deepEqual(state.requests.map(({ messages }) => messages[0].content), ['One?', 'Two?'])
  assert.equal(state.cursor, 'b:1-2')
})

test('an event leaves the other requests of a conversation the same objects, so that they need not be drawn', () => {
  const before = foldAll([ask('a', 'One?'), ask('b', 'Two?')], newConversation('c'))
  const after = fold(before, about('b', 'started', { n: 1 }, 1))
  assert.equal(after.requests[0], before.requests[0])
  assert.notEqual(after.requests[1], before.requests[1])
})

test('a question shows at once, and takes its place when the log tells of it', () => {
  const mine = expectRequest(newConversation('c'), 'mine', { messages: [{ role: 'user', content: 'Mine?' }] })
  const theirs = foldAll([ask('theirs', 'Theirs?')], mine)
  assert.deepEqual(theirs.requests.map(({ requestId }) => requestId), ['theirs', 'mine'])
  const told = foldAll([ask('mine', 'Mine?'), ask('later', 'Later?')], theirs)
  assert.deepEqual(told.requests.map(({ requestId }) => requestId), ['theirs', 'mine', 'later'])
  assert.ok(told.requests.every(({ expected }) => !expected))
})

test('more may become known of what is only expected; what the log told stands', () => {
  const mine = expectRequest(newConversation('c'), 'mine', { messages: [{ role: 'user', content: 'Mine?' }] })
  const cancelled = expectRequest(freeze(mine), 'mine', { status: 'cancelled' })
  assert.deepEqual(cancelled.requests.map(({ status, messages }) => [status, messages[0].content]), [['cancelled', 'Mine?']])
  const told = foldAll([ask('mine', 'Mine?')], cancelled)
  assert.deepEqual(told.requests.map(({ status, expected }) => [status, expected]), [['cancelled', false]])
  assert.equal(expectRequest(told, 'mine', { status: 'queued' }), told)
})

test('a rewind of a conversation clears all but the questions its log has not told of', () => {
  const state = expectRequest(foldAll([ask('a', 'One?'), ask('b', 'Two?')], newConversation('c')), 'mine', {})
  const cleared = fold(state, event('rewind', { reason: 'cursor_not_found' }))
  assert.deepEqual([cleared.requests.map(({ requestId }) => requestId), cleared.cursor], [['mine'], null])
})

test('a rewind of one request leaves the rest of its conversation', () => {
  const log = [ask('a', 'One?'), about('a', 'started', { n: 1 }, 1), about('a', 'delta', { text: 'one' }, 2), about('a', 'cancelled', {}, 3), ask('b', 'Two?')]
  const state = foldAll([...log, about('b', 'started', { n: 1 }, 1), about('b', 'delta', { text: 'two' }, 2), about('b', 'rewind')], newConversation('c'))
  assert.deepEqual(texts(state), [['a', 'one'], ['b', '']])
})

test('an erased request leaves the conversation, and its children follow its parent', () => {
  const queued = (request_id, parent_id) => event('queued', { request_id, parent_id, messages: [] }, `${request_id}:1-0`)
  const state = foldAll(
    [queued('a', null), queued('b', 'a'), queued('c', 'b'), event('erased', { request_id: 'b' }), event('erased', { request_id: 'x' })],
    newConversation('talk'),
  )
  assert.deepEqual(state.requests.map((request) => [request.requestId, request.parentId]), [['a', null], ['c', 'a']])
  assert.equal(state.cursor, 'c:1-0')
})

test('the number of watchers belongs to the conversation and moves no cursor', () => {
  const before = fold(newConversation('c'), event('queued', { request_id: 'r1', messages: [] }, 'r1:1-0'))
  const after = fold(freeze(before), event('watchers', { count: 2 }))
  assert.deepEqual([before.watchers, after.watchers, after.cursor], [1, 2, 'r1:1-0'])
  assert.equal(after.requests, before.requests)
})

test('results of tools and data of a function are kept in order, and data with an id is replaced', () => {
  const data = [['chart', '1', 1], ['chart', undefined, 2], ['table', '1', 3], ['chart', '1', 4]]
  const events = [
    { kind: 'tool_result', data: { index: 0, id: 'a', result: { n: 1 }, is_error: true } },
    ...data.map(([name, id, value]) => ({ kind: 'data', data: { name, id, value } })),
  ]
  const state = events.reduce(fold, newRequest('r'))
  assert.deepEqual(state.toolResults, [{ index: 0, id: 'a', result: { n: 1 }, isError: true }])
  assert.deepEqual(state.data.map(({ name, value }) => [name, value]), [['chart', 4], ['chart', 2], ['table', 3]])
  const snapshot = {
    text: '', status: 'running', n: 1, tool_results: [events[0].data], data: [{ name: 'note', value: null }],
  }
  const late = fold(newRequest('r'), { kind: 'snapshot', id: '1-1', data: snapshot })
  assert.deepEqual([late.toolResults, late.data], [state.toolResults, [{ name: 'note', id: null, value: null }]])
  assert.deepEqual(fold(state, { kind: 'reset', data: { n: 2 } }).data, [])
})
