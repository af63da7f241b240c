import assert from 'node:assert/strict'
import { test } from 'node:test'

import { SharedHub } from '../../client/javascript/shared_hub.js'
import { heldTimers, turns } from './network.mjs'

const URL = 'http://server/streams'

/** A server of `POST /streams`: `calls` are its calls, each with what it answers. */
function newServer() {
  const calls = []
  const encoder = new TextEncoder()
  const fetch = (url, { headers, body, signal }) => new Promise((resolve, reject) => {
    let controller
    const asked = JSON.parse(body).conversations
    const stream = new ReadableStream({ start(given) { controller = given } })
    signal.addEventListener('abort', () => {
      call.isClosed = true
      reject(signal.reason)
      try { controller.error(signal.reason) } catch { /* it has ended */ }
    })
    const send = (kind, data, id = '') => controller.enqueue(encoder.encode(
      `${id && `id: ${id}\n`}event: ${kind}\ndata: ${JSON.stringify(data)}\n\n`,
    ))
    const call = {
      url, key: headers.Authorization, after: Object.fromEntries(asked.map((one) => [one.conversation_id, one.after])),
      isClosed: false, drop: () => controller.close(),
      accept: async () => {
        resolve(new Response(stream))
        await turns()
      },
      refuse: async (status, error) => {
        resolve(new Response(JSON.stringify({ error }), { status }))
        await turns()
      },
      send: async (conversation, kind, id, data) => {
        send('conversation', { conversation_id: conversation })
        send(kind, { request_id: `of-${conversation}`, ...data }, id && `of-${conversation}:${id}`)
        await turns()
      },
    }
    calls.push(call)
  })
  return { fetch, calls, last: () => calls.at(-1) }
}

function newTab(hub, conversationId, { apiKey, isHidden = false } = {}) {
  const tab = { got: [], send: (message) => tab.got.push(structuredClone(message)) }
  tab.join = () => hub.take(tab, { verb: 'join', url: URL, apiKey, conversationId, isHidden })
  tab.texts = () => tab.got.flatMap(({ events = [] }) => events).map(({ data }) => data.text)
  tab.statuses = () => tab.got.filter(({ verb }) => verb === 'connection').map(({ status }) => status)
  tab.verbs = () => tab.got.map(({ verb }) => verb)
  tab.join()
  return tab
}

function begin(t, conversations, options) {
  const timers = heldTimers(t)
  const server = newServer()
  const hub = new SharedHub({ fetch: server.fetch })
  const tabs = conversations.map((name) => newTab(hub, name, options))
  const run = async () => {
    await timers.fire()
    await turns()
  }
  return { timers, server, hub, tabs, run }
}

test('tabs that open together share one connection, and each gets only its own conversation', async (t) => {
  const { server, tabs: [a, b, alsoA], run } = begin(t, ['a', 'b', 'a'])
  await run()
  assert.equal(server.calls.length, 1)
  assert.deepEqual(server.last().after, { a: null, b: null })
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'of a' })
  await server.last().send('b', 'delta', '1-1', { text: 'of b' })
  assert.deepEqual([a, b, alsoA].map((tab) => tab.texts()), [['of a'], ['of b'], ['of a']])
  assert.deepEqual(a.statuses(), ['open'])
})

test('a new conversation makes the connection again behind the last event of each', async (t) => {
  const { server, hub, tabs: [a], run } = begin(t, ['a'])
  await run()
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'one' })
  const b = newTab(hub, 'b')
  await run()
  assert.ok(server.calls[0].isClosed)
  assert.deepEqual(server.last().after, { a: 'of-a:1-1', b: null })
  await server.last().accept()
  await server.last().send('a', 'delta', '1-2', { text: 'two' })
  assert.deepEqual(a.texts(), ['one', 'two'])
  assert.deepEqual(a.statuses(), ['open', 'open'])
  assert.deepEqual(b.statuses().at(-1), 'open')
})

test('a tab that joins a conversation that is read costs no call', async (t) => {
  const { server, hub, run } = begin(t, ['a'])
  await run()
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'one ' })
  await server.last().send('a', 'delta', '1-2', { text: 'two' })
  const late = newTab(hub, 'a')
  await run()
  assert.deepEqual(late.texts(), ['one two'])
  assert.equal(late.statuses().at(-1), 'open')
  assert.equal(server.calls.length, 1)
})

test('a conversation is read no more when its last tab has left, and the connection ends with the last one', async (t) => {
  const { server, hub, tabs: [a, b], timers, run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  hub.take(b, { verb: 'leave' })
  await timers.fire()
  await run()
  assert.deepEqual(Object.keys(server.last().after), ['a'])
  hub.leave(a)
  await timers.fire()
  assert.ok(server.last().isClosed)
  assert.deepEqual(timers.delays(), [])
})

test('a conversation that is opened again at once is read from its start, whatever the old connection still brings', async (t) => {
  const { hub, server, tabs: [a], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'one ' })
  hub.leave(a)
  await run()
  const again = newTab(hub, 'a')
  await server.last().send('a', 'delta', '2-1', { text: 'two' })
  assert.deepEqual(again.texts(), [])
  await run()
  assert.equal(server.last().after.a, null)
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'one ' })
  await server.last().send('a', 'delta', '2-1', { text: 'two' })
  assert.deepEqual(again.texts(), ['one ', 'two'])
})

test('a browser whose last tab is kept for the back button gives its connection back without a timer', async (t) => {
  const { server, hub, tabs: [a, b], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  hub.take(b, { verb: 'leave', isKept: true })
  await turns()
  assert.ok(!server.last().isClosed)
  hub.take(a, { verb: 'leave', isKept: true })
  await turns()
  assert.ok(server.last().isClosed)
  a.join()
  await run()
  assert.deepEqual(server.last().after, { a: null })
})

test('a tab that answers no pings is dropped, and joins again when it wakes', async (t) => {
  const { server, hub, tabs: [a, b], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  for (let tick = 0; tick < 4; tick += 1) {
    hub.tick()
    hub.take(a, { verb: 'pong' })
  }
  assert.equal(b.verbs().at(-1), 'dropped')
  assert.equal(a.verbs().at(-1), 'ping')
  await run()
  await run()
  assert.deepEqual(Object.keys(server.last().after), ['a'])
  b.join()
  await run()
  assert.deepEqual(Object.keys(server.last().after), ['a', 'b'])
})

test('after the machine has slept the connection is made again', async (t) => {
  const { server, hub, run } = begin(t, ['a'])
  await run()
  await server.last().accept()
  const now = Date.now()
  t.mock.method(Date, 'now', () => now + 60_000)
  hub.tick()
  await turns()
  assert.equal(server.calls.length, 2)
})

test('tabs with another key have a connection of their own', async (t) => {
  const { server, hub, tabs: [ada], run } = begin(t, ['a'], { apiKey: 'ada' })
  const bob = newTab(hub, 'a', { apiKey: 'bob' })
  await run()
  assert.deepEqual(server.calls.map(({ key }) => key), ['Bearer ada', 'Bearer bob'])
  await server.calls[0].accept()
  await server.calls[1].accept()
  await server.calls[0].send('a', 'delta', '1-1', { text: 'for Ada' })
  assert.deepEqual([ada.texts(), bob.texts()], [['for Ada'], []])
  await server.calls[1].refuse(401, { message: 'No.', type: 'x' })
  assert.equal(newTab(hub, 'a', { apiKey: 'bob' }).texts().length, 0)
})

test('a refused key closes all its tabs with the reason, and the next key starts over', async (t) => {
  const { server, hub, tabs, run } = begin(t, ['a', 'b'], { apiKey: 'wrong' })
  await run()
  await server.last().refuse(401, { message: 'Wrong key.', type: 'authentication', code: 'invalid_api_key' })
  for (const tab of tabs) {
    const { status, error } = tab.got.at(-1)
    assert.deepEqual([status, error.status, error.code, error.message], ['closed', 401, 'invalid_api_key', 'Wrong key.'])
  }
  newTab(hub, 'a', { apiKey: 'right' })
  await run()
  assert.deepEqual([server.calls.length, server.last().key], [2, 'Bearer right'])
})

test('refused cursors are dropped, and the tabs start over', async (t) => {
  const { server, tabs: [a, b], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'old' })
  server.last().drop()
  await turns()
  await run()
  assert.deepEqual(server.last().after, { a: 'of-a:1-1', b: null })
  await server.last().refuse(400, { message: 'No.', param: 'after' })
  await run()
  assert.equal(a.got.flatMap(({ events = [] }) => events).at(-1).kind, 'rewind')
  assert.deepEqual(b.got.flatMap(({ events = [] }) => events), [])
  assert.deepEqual(server.last().after, { a: null, b: null })
})

test('a conversation that the server refuses is left to its tab, and the others are read', async (t) => {
  const { server, tabs: [a, b], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().refuse(400, { message: 'No.', param: 'conversations[1].conversation_id' })
  await run()
  assert.equal(b.verbs().at(-1), 'alone')
  assert.ok(!a.verbs().includes('alone'))
  assert.deepEqual(server.last().after, { a: null })
})

for (const status of [404, 405]) {
  test(`with a server that answers ${status} each tab reads for itself`, async (t) => {
    const { server, tabs, timers, run } = begin(t, ['a', 'b'])
    await run()
    await server.last().refuse(status, { message: 'No.' })
    for (const tab of tabs) assert.equal(tab.verbs().at(-1), 'alone')
    await timers.fire()
    assert.equal(server.calls.length, 1)
  })
}

test('a server that is away is asked again, behind the last events', async (t) => {
  const { server, tabs: [a], run } = begin(t, ['a'])
  await run()
  await server.last().accept()
  await server.last().send('a', 'delta', '1-1', { text: 'one' })
  server.last().drop()
  await turns()
  assert.equal(a.statuses().at(-1), 'reconnecting')
  await run()
  await server.last().refuse(502)
  await run()
  assert.equal(server.calls.length, 3)
  assert.deepEqual(server.last().after, { a: 'of-a:1-1' })
})

test('a browser of which no tab can be seen gives its connection back until one is shown', async (t) => {
  const { server, hub, tabs: [a, b], run } = begin(t, ['a', 'b'])
  await run()
  await server.last().accept()
  hub.take(a, { verb: 'hidden', isHidden: true })
  await run()
  assert.ok(!server.last().isClosed)
  hub.take(b, { verb: 'hidden', isHidden: true })
  await run()
  assert.ok(server.last().isClosed)
  assert.equal(a.statuses().at(-1), 'paused')
  hub.reconnect()
  await run()
  assert.equal(server.calls.length, 1)
  hub.take(a, { verb: 'hidden', isHidden: false })
  await turns()
  assert.equal(server.calls.length, 2)
})

test('the 101st conversation goes into a second stream, and the 301st is left to its tab', async (t) => {
  const names = Array.from({ length: 301 }, (_, number) => `c${number}`)
  const { server, tabs, run } = begin(t, names)
  await run()
  assert.deepEqual(server.calls.map(({ after }) => Object.keys(after).length), [100, 100, 100])
  assert.deepEqual(tabs.at(-1).verbs(), ['alone'])
})

test('a server that says nothing is connected again', async (t) => {
  const { server, timers, run } = begin(t, ['a'])
  await run()
  await server.last().accept()
  await timers.fallSilent()
  await run()
  assert.equal(server.calls.length, 2)
})
