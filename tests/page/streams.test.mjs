import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { test } from 'node:test'

import { eventStreamDecoder, readWithFetch } from '../../client/javascript/streams.js'

function decode(pieces) {
  const events = []
  const feed = eventStreamDecoder((event) => events.push(event))
  pieces.forEach(feed)
  return events
}

const STREAM = [
  ': a comment', 'retry: 500', 'id: 1-0', 'event: queued', 'data: {"a":1}', '',
  'event:delta', 'data:no space', 'data:  two spaces', 'data', '',
  'id: 1-2', 'event: nothing to say', '', 'data: after', '', '',
]
const EVENTS = [
  { kind: 'queued', id: '1-0', data: '{"a":1}' },
  { kind: 'delta', id: '1-0', data: 'no space\n two spaces\n' },
  { kind: 'message', id: '1-2', data: 'after' },
]

for (const [name, eol] of Object.entries({ LF: '\n', CR: '\r', 'CR LF': '\r\n' })) {
  test(`an event stream with ${name} reads the same wherever it is cut`, () => {
    const stream = STREAM.join(eol)
    assert.deepEqual(decode([stream]), EVENTS)
    assert.deepEqual(decode([...stream]), EVENTS)
    for (let at = 0; at <= stream.length; at += 1) {
      assert.deepEqual(decode([stream.slice(0, at), '', stream.slice(at)]), EVENTS, `cut at ${at}`)
    }
  })
}

test('an event that the end of the stream cut off is not reported', () => {
  assert.deepEqual(decode(['data: whole\n\ndata: half\n']), [{ kind: 'message', id: '', data: 'whole' }])
})

test('an id with a NUL is no id', () => {
  assert.equal(decode(['id: 1-0\ndata: a\n\nid: 2\0\ndata: b\n\n'])[1].id, '1-0')
})

/** Serve one answer over real HTTP while `use` runs. */
async function serving(respond, use) {
  const server = createServer(respond).listen(0, '127.0.0.1')
  await new Promise((resolve) => { server.once('listening', resolve) })
  try {
    return await use(`http://127.0.0.1:${server.address().port}/`)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

function read(url, options = {}) {
  const events = []
  const { signal } = new AbortController()
  const onEvent = (event) => events.push(event)
  return readWithFetch(url, { fetch, signal, onOpen: () => {}, onEvent, ...options }).then((reason) => ({ reason, events }))
}

test('a stream gives its events and says that it ended; characters cut into bytes come whole', async () => {
  const bytes = Buffer.from('id: 1-1\nevent: delta\ndata: {"text":"déjà 🙂"}\n\n')
  await serving(async (_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/event-stream' })
    for (const byte of bytes) {
      response.write(Buffer.from([byte]))
      await new Promise(setImmediate)
    }
    response.end()
  }, async (url) => {
    const { reason, events } = await read(url)
    assert.equal(reason.status, 200)
    assert.deepEqual(events, [{ kind: 'delta', id: '1-1', data: { text: 'déjà 🙂' } }])
  })
})

test('a refusal tells its status, field and delay', async () => {
  const error = { message: 'Too many.', type: 'rate_limit_error', param: 'x', code: 'tenant_limit' }
  await serving((_, response) => {
    response.writeHead(429, { 'Content-Type': 'application/json', 'Retry-After': '3' })
    response.end(JSON.stringify({ error }))
  }, async (url) => {
    const { reason } = await read(url)
    const { status, message, type, param, code, retryAfterMs } = reason
    assert.deepEqual({ message, type, param, code }, error)
    assert.deepEqual([status, retryAfterMs, reason.isUnanswered], [429, 3000, false])
  })
})

test('a page of a proxy is a refusal too, and one that says nothing about the server', async () => {
  await serving((_, response) => response.writeHead(502).end('<h1>Bad Gateway</h1>'), async (url) => {
    const { reason } = await read(url)
    assert.deepEqual([reason.status, reason.message, reason.isUnanswered], [502, 'The server answered 502.', true])
  })
})

function begin(response, text) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream' })
  response.write(text)
}

test('a connection that breaks is status 0', async () => {
  await serving((_, response) => {
    begin(response, 'data: {}\n\n')
    setImmediate(() => response.destroy())
  }, async (url) => assert.equal((await read(url)).reason.status, 0))
})

test('an event that is not JSON ends the connection, as status 0', async () => {
  let hasLeft
  await serving((_, response) => {
    hasLeft = new Promise((resolve) => { response.on('close', resolve) })
    begin(response, 'data: <h1>\n\n')
  }, async (url) => {
    assert.equal((await read(url)).reason.status, 0)
    await hasLeft
  })
})

test('a connection without so much as a heartbeat is given up', async (t) => {
  const real = globalThis.setTimeout
  const silences = []
  t.mock.method(globalThis, 'setTimeout', (run, delayMs, ...rest) => {
    if (![37_500, 100_000].includes(delayMs)) return real(run, delayMs, ...rest)
    silences.push({ run, delayMs })
    return undefined
  })
  await serving((_, response) => begin(response, 'event: heartbeat\ndata: {"interval_s":40}\n\n'), async (url) => {
    const reading = read(url)
    while (silences.at(-1)?.delayMs !== 100_000) await new Promise(setImmediate)
    assert.equal(silences[0].delayMs, 37_500, 'before the server has said how often its heartbeats come')
    silences.at(-1).run()
    const { reason, events } = await reading
    assert.deepEqual([reason.status, events], [0, []])
  })
})

test('a key goes into the header and not into the address', async () => {
  await serving((request, response) => {
    assert.equal(request.url, '/')
    response.writeHead(200).end(`data: ${JSON.stringify(request.headers.authorization)}\n\n`)
  }, async (url) => {
    const { events } = await read(url, { apiKey: 'secret' })
    assert.equal(events[0].data, 'Bearer secret')
  })
})
