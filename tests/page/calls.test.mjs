import assert from 'node:assert/strict'
import { webcrypto } from 'node:crypto'
import { test } from 'node:test'

import {
  backoffMs, cancel, eraseConversation, listConversations, listRoles, newId, readConversation, renameConversation, submit,
  TickertapeError,
} from '../../client/javascript/calls.js'

globalThis.crypto ??= webcrypto // Node 18 has it, but not as a global

/** A server that gives these answers in turn: a function of the call, a Response, or an Error for a lost connection. */
function answering(...answers) {
  const calls = []
  const fetch = async (url, init) => {
    calls.push({ url, ...init })
    const answer = answers[calls.length - 1]
    if (answer instanceof Error) throw answer
    return answer
  }
  return { calls, fetch }
}

const json = (status, body) => new Response(JSON.stringify(body), { status })
const refusal = (status, error) => json(status, { error: { type: 'server_error', param: null, code: 'full', ...error } })
const lost = () => new TypeError('fetch failed')

/** Back-off without the time: delays are noted and over at once. */
function noting(t) {
  const delays = []
  t.mock.method(globalThis, 'setTimeout', (run, delayMs) => {
    delays.push(delayMs)
    setImmediate(run)
  })
  return delays
}

test('a question goes out as it was given, under an idempotency key of its own', async () => {
  const { calls, fetch } = answering(json(202, { request_id: 'r1' }), json(202, { request_id: 'r2' }))
  const body = { message: 'Hi', role: 'pirate', conversation_id: 'c' }
  assert.deepEqual(await submit(body, { baseUrl: 'http://server', apiKey: 'secret', fetch }), { request_id: 'r1' })
  await submit(body, { fetch })
  const [first, second] = calls
  assert.equal(first.url, 'http://server/chat')
  assert.deepEqual(JSON.parse(first.body), body)
  assert.equal(first.headers.Authorization, 'Bearer secret')
  assert.match(first.headers['Idempotency-Key'], /^[0-9a-f]{32}$/)
  assert.notEqual(first.headers['Idempotency-Key'], second.headers['Idempotency-Key'])
})

test('a lost reply is never a second question: every try carries the same key', async (t) => {
  const delays = noting(t)
  const cutShort = new Response('{"request', { status: 202 })
  const proxy = new Response('<h1>Bad Gateway</h1>', { status: 502 })
  const { calls, fetch } = answering(lost(), cutShort, proxy, json(200, { request_id: 'r1' }))
  const problems = []
  const answer = await submit({ message: 'Hi' }, { fetch, idempotencyKey: 'k', onRetry: (error) => problems.push(error.status) })
  assert.deepEqual(answer, { request_id: 'r1' })
  assert.deepEqual(calls.map(({ headers }) => headers['Idempotency-Key']), ['k', 'k', 'k', 'k'])
  assert.deepEqual(problems, [0, 0, 502])
  assert.equal(delays.length, 3)
})

test('a server that stays away is given up after the tries', async (t) => {
  noting(t)
  const { calls, fetch } = answering(lost(), lost(), lost())
  await assert.rejects(submit({}, { fetch, tries: 3 }), (error) => error instanceof TickertapeError && error.isUnanswered)
  assert.equal(calls.length, 3)
})

test('what the server itself refuses is not tried again, and tells the field', async () => {
  for (const status of [400, 401, 409, 429, 503]) {
    const { calls, fetch } = answering(refusal(status, { message: 'no', param: 'message' }))
    await assert.rejects(submit({}, { fetch }), { status, message: 'no', param: 'message', code: 'full' })
    assert.equal(calls.length, 1)
  }
})

test('an aborted call is not tried again', async () => {
  const stop = new AbortController()
  const { calls, fetch } = answering(lost())
  stop.abort()
  await assert.rejects(submit({}, { fetch, signal: stop.signal }), { name: 'AbortError' })
  assert.equal(calls.length, 1)
})

test('stop and roles call what the API names', async () => {
  const { calls, fetch } = answering(json(200, { status: 'cancelled' }), json(200, { roles: [{ name: 'sql' }] }))
  assert.deepEqual(await cancel('r/1', { fetch }), { status: 'cancelled' })
  assert.deepEqual(await listRoles({ fetch }), [{ name: 'sql' }])
  assert.deepEqual(calls.map(({ method, url }) => [method, url]), [['POST', '/chat/r%2F1/cancel'], [undefined, '/roles']])
})

test('back-off grows, is spread, and is capped', () => {
  assert.deepEqual([0, 1, 2, 3].map((failures) => backoffMs(failures, () => 1)), [1000, 2000, 4000, 8000])
  assert.equal(backoffMs(3, () => 0.5), 4000)
  assert.equal(backoffMs(2000, () => 1), 30_000)
})

test('ids are 128 bits and not the same twice', () => {
  const ids = new Set(Array.from({ length: 1000 }, newId))
  assert.equal(ids.size, 1000)
  for (const id of ids) assert.match(id, /^[0-9a-f]{32}$/)
})

test('conversations are listed by pages, renamed and erased', async () => {
  const page = { conversations: [{ conversation_id: 'a/b' }], after: '17-x' }
  const { calls, fetch } = answering(json(200, page), json(200, page), json(200, { title: 'New' }), new Response(null, { status: 204 }))
  assert.deepEqual(await listConversations({ fetch }), page)
  await listConversations({ words: 'a & b', after: '17-x', limit: 5, fetch })
  assert.deepEqual(await renameConversation('a/b', 'New', { fetch }), { title: 'New' })
  assert.equal(await eraseConversation('a/b', { fetch }), undefined)
  assert.deepEqual(calls.map(({ method, url }) => [method, url]), [
    [undefined, '/conversations?limit=30'], [undefined, '/conversations?limit=5&q=a+%26+b&after=17-x'],
    ['PATCH', '/conversations/a%2Fb'], ['DELETE', '/conversations/a%2Fb'],
  ])
  assert.deepEqual(JSON.parse(calls[2].body), { title: 'New' })
})

test('a conversation is read whole or by pages', async () => {
  const { calls, fetch } = answering(json(200, { turns: [] }), json(200, { turns: [] }), json(200, { turns: [] }))
  await readConversation('a/b', { fetch })
  await readConversation('a/b', { limit: 1, fetch })
  await readConversation('a/b', { limit: 20, before: '17 x', fetch })
  assert.deepEqual(calls.map(({ url }) => url), [
    '/conversations/a%2Fb', '/conversations/a%2Fb?limit=1', '/conversations/a%2Fb?limit=20&before=17+x',
  ])
})

test('a conversation that is gone counts as erased, and a refusal does not', async () => {
  const { fetch } = answering(refusal(404, { message: 'unknown' }), refusal(401, { message: 'no key' }))
  await eraseConversation('c', { fetch })
  await assert.rejects(eraseConversation('c', { fetch }), { status: 401 })
})

test('outside of a page, a call without a server is refused at once', async () => {
  await assert.rejects(submit({ message: 'Hi' }), /^TypeError: \/chat names no server: give baseUrl/)
})
