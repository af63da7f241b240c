import assert from 'node:assert/strict'
import { beforeEach, test } from 'node:test'

import { follow } from '../../client/javascript/client.js'
import { followShared } from '../../client/javascript/shared.js'
import { EventSource, heldTimers, refusing, turns } from './network.mjs'

const made = () => EventSource.made
const last = () => made().at(-1)

let statuses
async function watch(options = {}) {
  const onState = (_, { status }) => { if (statuses.at(-1) !== status) statuses.push(status) }
  const follower = follow({ requestId: 'r1', EventSource, fetch: refusing(502), onState, ...options })
  await turns()
  return follower
}

beforeEach(() => {
  EventSource.made = []
  statuses = []
})

test('a follower folds what it reads and closes at the end', async () => {
  const follower = await watch({ baseUrl: 'http://server' })
  assert.equal(last().url, 'http://server/chat/r1/stream')
  last().open()
  last().send('started', { n: 1 }, '1-0')
  last().send('delta', { text: 'Hello' }, '1-1')
  assert.equal(follower.state.text, 'Hello')
  last().send('completed', { finish_reason: 'stop' }, '1-2')
  await turns()
  assert.equal(last().readyState, EventSource.CLOSED)
  assert.deepEqual(statuses, ['open', 'closed'])
  assert.equal(follower.connection.error, null)
  assert.equal(made().length, 1)
})

test('a stream that a proxy refuses is made again behind the last event, later and later', async (t) => {
  const timers = heldTimers(t)
  t.mock.method(Math, 'random', () => 1)
  const follower = await watch()
  last().open()
  last().send('started', { n: 1 }, '1-0')
  last().send('delta', { text: 'one ' }, '1-1')
  const delays = []
  for (let failure = 0; failure < 7; failure += 1) {
    last().refuse()
    await turns()
    delays.push(...timers.delays())
    await timers.fire()
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16000, 30000, 30000])
  assert.equal(made().length, 8)
  assert.equal(last().url, '/chat/r1/stream?after=1-1')
  assert.equal(follower.connection.status, 'reconnecting')
  last().open()
  last().send('delta', { text: 'two' }, '1-2')
  assert.equal(follower.state.text, 'one two')
  assert.equal(follower.connection.status, 'open')
  last().drop()
  await turns()
  assert.deepEqual(timers.delays(), [1000], 'an event that came ends the row of failures')
  follower.close()
})

test('a connection that held for a while was a good one, even if nothing was said on it', async (t) => {
  const timers = heldTimers(t)
  let nowMs = 0
  t.mock.method(Date, 'now', () => nowMs)
  t.mock.method(Math, 'random', () => 1)
  const follower = await watch()
  for (const [heldMs, delayMs] of [[0, 1000], [0, 2000], [4000, 4000], [6000, 1000]]) {
    last().open()
    nowMs += heldMs
    last().drop()
    await turns()
    assert.deepEqual(timers.delays(), [delayMs])
    await timers.fire()
  }
  follower.close()
})

test('a server that says when to come back is believed', async (t) => {
  const timers = heldTimers(t)
  const follower = await watch({ fetch: refusing(503, { 'Retry-After': '20' }) })
  last().refuse()
  await turns()
  assert.deepEqual(timers.delays(), [20_000])
  follower.close()
})

test('a broken connection is made again by us and not also by the browser', async (t) => {
  const timers = heldTimers(t)
  const follower = await watch()
  last().open()
  last().drop()
  await turns()
  assert.equal(made()[0].readyState, EventSource.CLOSED)
  await timers.fire()
  assert.equal(made().length, 2)
  follower.close()
})

test('an event that cannot be read makes the follower read again behind the last good one', async (t) => {
  const timers = heldTimers(t)
  const follower = await watch()
  last().send('started', { n: 1 }, '1-0')
  last().send('delta', '<h1>', '1-1')
  await turns()
  await timers.fire()
  assert.equal(last().url, '/chat/r1/stream?after=1-0')
  follower.close()
})

test('a connection without so much as a heartbeat is made again behind the last event', async (t) => {
  const timers = heldTimers(t)
  const follower = await watch()
  last().open()
  last().send('delta', { text: 'one ' }, '1-1')
  last().send('heartbeat', {}, undefined)
  assert.equal(follower.state.cursor, '1-1')
  await timers.fallSilent()
  assert.deepEqual([made()[0].readyState, follower.connection.status], [EventSource.CLOSED, 'reconnecting'])
  await timers.fire()
  assert.equal(last().url, '/chat/r1/stream?after=1-1')
  follower.close()
})

test('a request that the server does not know is gone', async () => {
  const follower = await watch({ fetch: refusing(404) })
  last().refuse()
  await turns()
  assert.deepEqual([follower.state.status, follower.connection.status, made().length], ['gone', 'closed', 1])
})

test('a server that wants a key closes the follower with the reason', async () => {
  const follower = await watch({ fetch: refusing(401) })
  last().refuse()
  await turns()
  assert.deepEqual([follower.connection.status, follower.connection.error.status], ['closed', 401])
  assert.equal(follower.state.status, 'queued')
})

for (const status of [204, 400]) {
  test(`a cursor that the server answers with ${status} gives way to a replay from the start`, async (t) => {
    const timers = heldTimers(t)
    const follower = await watch({ after: '1-5', fetch: refusing(status) })
    assert.equal(last().url, '/chat/r1/stream?after=1-5')
    last().refuse()
    await turns()
    await timers.fire()
    assert.equal(last().url, '/chat/r1/stream')
    follower.close()
  })
}

test('an earlier fold is continued at its cursor, and one that has ended asks nothing', async () => {
  const first = await watch()
  last().send('delta', { text: 'kept ' }, '1-1')
  first.close()
  const second = await watch({ state: first.state })
  assert.equal(last().url, '/chat/r1/stream?after=1-1')
  last().send('delta', { text: 'and on' }, '1-2')
  last().send('completed', {}, '1-3')
  assert.equal(second.state.text, 'kept and on')
  const third = await watch({ state: second.state })
  assert.deepEqual([third.connection.status, made().length], ['closed', 2])
})

test('a conversation is followed over the ends of its requests', async () => {
  const follower = await watch({ requestId: undefined, conversationId: 'c 1' })
  assert.equal(last().url, '/conversations/c%201/stream')
  last().open()
  last().send('queued', { request_id: 'a', messages: [], role: null }, 'a:1-0')
  last().send('cancelled', { request_id: 'a' }, 'a:1-1')
  last().send('queued', { request_id: 'b', messages: [], role: null }, 'b:1-0')
  assert.deepEqual(follower.state.requests.map(({ status }) => status), ['cancelled', 'queued'])
  assert.equal(follower.connection.status, 'open')
  follower.close()
})

test('a conversation that has nothing more to say is kept and asked again', async (t) => {
  const timers = heldTimers(t)
  const follower = await watch({ requestId: undefined, conversationId: 'c', fetch: refusing(204) })
  last().send('queued', { request_id: 'a', messages: [], role: null }, 'a:1-0')
  last().refuse()
  await turns()
  await timers.fire()
  assert.deepEqual([follower.state.requests.length, last().url], [1, '/conversations/c/stream?after=a%3A1-0'])
  follower.close()
})

test('with a key, or without an EventSource, the stream is read with fetch', async () => {
  const calls = []
  const fetch = async (url, { headers }) => {
    calls.push([url, headers.Authorization])
    return new Response('id: 1-1\nevent: delta\ndata: {"text":"x"}\n\nid: 1-2\nevent: cancelled\ndata: {}\n\n', { status: 200 })
  }
  const withKey = await watch({ apiKey: 'secret', after: '1-0', fetch })
  const without = await watch({ EventSource: undefined, fetch })
  assert.deepEqual(calls, [['/chat/r1/stream?after=1-0', 'Bearer secret'], ['/chat/r1/stream', undefined]])
  assert.deepEqual([withKey.state.text, without.state.status, made().length], ['x', 'cancelled', 0])
})

test('a mistake in onState does not break the stream', async (t) => {
  const reported = t.mock.method(console, 'error', () => {})
  const follower = await watch({ onState: () => { throw new Error('mistake') } })
  last().send('delta', { text: 'Hello' }, '1-0')
  last().send('completed', {}, '1-1')
  assert.deepEqual([follower.state.text, follower.state.status], ['Hello', 'completed'])
  assert.equal(reported.mock.calls[0].arguments[0].message, 'mistake')
})

test('closing stops the reading, and reconnecting a closed follower does nothing', async () => {
  const follower = await watch()
  follower.close()
  follower.reconnect()
  await turns()
  assert.deepEqual([made().length, last().readyState, follower.connection.status], [1, EventSource.CLOSED, 'closed'])
})

/** A window and a document, as far as a follower looks at them. */
function page(t) {
  const window = new EventTarget()
  const document = Object.assign(new EventTarget(), { hidden: false })
  Object.assign(globalThis, { document, addEventListener: window.addEventListener.bind(window) })
  t.after(() => {
    delete globalThis.document
    delete globalThis.addEventListener
  })
  const show = async (isShown) => {
    document.hidden = !isShown
    document.dispatchEvent(new Event('visibilitychange'))
    await turns()
  }
  return { window, show }
}

test('when the network is back, a follower that waits connects at once', async (t) => {
  const { window } = page(t)
  const timers = heldTimers(t)
  const follower = await watch()
  last().drop()
  await turns()
  assert.deepEqual([made().length, timers.delays().length], [1, 1])
  window.dispatchEvent(new Event('online'))
  await turns()
  assert.deepEqual([made().length, timers.delays().length], [2, 0])
  follower.close()
})

test('a hidden tab gives its connection back and reads on from there when it is shown', async (t) => {
  const { show } = page(t)
  const timers = heldTimers(t)
  const follower = await watch()
  last().open()
  last().send('delta', { text: 'seen ' }, '1-1')
  await show(false)
  assert.deepEqual([last().readyState, timers.delays()], [EventSource.OPEN, [15_000]])
  await timers.fire()
  assert.deepEqual([last().readyState, follower.connection.status, made().length], [EventSource.CLOSED, 'paused', 1])
  await show(true)
  assert.equal(last().url, '/chat/r1/stream?after=1-1')
  last().open()
  last().send('delta', { text: 'and missed' }, '1-2')
  assert.equal(follower.state.text, 'seen and missed')
  follower.close()
})

test('a tab hidden for a moment keeps its connection until it is shown, and then makes sure of it', async (t) => {
  const { show } = page(t)
  const timers = heldTimers(t)
  const follower = await watch()
  last().open()
  await show(false)
  await show(true)
  assert.deepEqual([made().length, timers.delays()], [2, []])
  follower.close()
})

test('a program can wait for the end of a request, and gets its last state', async () => {
  const follower = await watch()
  last().open()
  last().send('started', { n: 1 }, '1-0')
  last().send('delta', { text: 'Hello' }, '1-1')
  last().send('completed', { finish_reason: 'stop' }, '1-2')
  const { text, status } = await follower.closed
  assert.deepEqual([text, status], ['Hello', 'completed'])
})

test('whoever waits for the end learns why it will not come, and whoever does not wait is not disturbed', async () => {
  const options = { EventSource: undefined, fetch: refusing(401) }
  const follower = await watch(options)
  await assert.rejects(follower.closed, { name: 'TickertapeError', status: 401 })
  await watch(options) // an unhandled rejection would end this test
  const left = await watch()
  left.close()
  assert.equal((await left.closed).status, 'queued')
})

test('a follower without an id is refused at once, with what is missing', () => {
  for (const options of [undefined, {}, { requestId: '', baseUrl: 'http://server' }, { conversationId: undefined }]) {
    assert.throws(() => follow(options), /^TypeError: Nothing to follow: give requestId or conversationId/)
    assert.throws(() => followShared(options), /^TypeError: Nothing to follow/)
  }
})

test('outside of a page, a follower without a server is refused at once', () => {
  assert.throws(() => follow({ requestId: 'r1' }), /^TypeError: \/chat\/r1\/stream names no server: give baseUrl/)
})
