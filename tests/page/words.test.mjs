import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fitsOnALine, shortOf, wholeOf, wordsForData, wordsForResult } from '../../api/page/step_words.js'
import { newRequest } from '../../client/javascript/fold.js'
import { activeRequest, questionOf, wordsForConnection, wordsForError, wordsForPage, wordsForRequest } from '../../api/page/words.js'

const request = (known) => newRequest('r1', known)
const words = (known) => wordsForRequest(request(known), 10_000)

test('who waits is told where, and for how long', () => {
  assert.equal(words({}), 'Waiting its turn.')
  assert.equal(words({ position: 0 }), 'Next in line.')
  assert.equal(words({ position: 2 }), 'In line, 2 ahead.')
  assert.equal(words({ waiting: { until: 21_500 } }), 'The model is busy. Trying again in 12 s.')
  assert.equal(words({ waiting: { until: 9_000 } }), 'The model is busy. Trying again…')
})

test('an interruption shows while the answer is written and after it', () => {
  assert.equal(words({ status: 'running' }), 'Thinking…')
  assert.equal(words({ status: 'running', text: 'x' }), '')
  assert.equal(words({ status: 'running', interruption: 'reset' }), 'Interrupted, so it started over.')
  assert.match(words({ status: 'completed', interruption: 'resumed', model: 'm' }), /^Interrupted, then continued\. m$/)
})

test('an end says what came of the request', () => {
  const usage = { completion_tokens: 9 }
  assert.equal(words({ status: 'completed', finishReason: 'stop', model: 'm', usage }), '9 tokens · m')
  assert.equal(words({ status: 'completed', finishReason: 'length' }), 'Cut off at the length limit.')
  assert.equal(words({ status: 'completed', finishReason: 'a new word' }), 'Ended by the model’s server: a new word.')
  assert.equal(words({ status: 'failed', error: { message: 'no' } }), 'Failed: no')
  assert.equal(words({ status: 'failed' }), 'Failed: the server kept no reason.')
  assert.equal(words({ status: 'cancelled' }), 'Stopped.')
  assert.match(words({ status: 'gone' }), /expired/)
})

test('the page tells of its connection first, then of the active request', () => {
  const requests = [request({ status: 'completed' }), request({ position: 1 }), request({ status: 'running' })]
  assert.equal(activeRequest(requests), requests[2])
  assert.equal(activeRequest(requests.slice(0, 2)), requests[1])
  assert.equal(activeRequest([]), undefined)
  assert.match(wordsForPage({ requests }, { status: 'reconnecting' }, 0), /^Connection lost/)
  assert.equal(wordsForPage({ requests }, { status: 'open' }, 0), 'Thinking…')
  assert.equal(wordsForPage({ requests: [] }, { status: 'open' }, 0), '')
  assert.equal(wordsForPage({ requests: [] }, { status: 'closed', error: { message: 'no' } }, 0), 'no')
})

test('an error names its field once', () => {
  assert.equal(wordsForError({ param: 'role', message: 'unknown' }), 'role: unknown')
  assert.equal(wordsForError({ param: 'role', message: 'role: unknown' }), 'role: unknown')
  assert.equal(wordsForError({ param: null, message: 'no' }), 'no')
  assert.equal(wordsForError({ status: 401, message: 'Send `Authorization: Bearer <key>`.' }), 'This server asks for a key.')
})

test('a question that is too large names the limit if the server did', () => {
  const words = 'The question and its attachments are too large for this server'
  assert.equal(wordsForError({ status: 413, message: 'The body is larger than 1048576 bytes.' }), `${words}, which takes 1 MB at most.`)
  assert.equal(wordsForError({ status: 413, message: 'The server answered 413.' }), `${words}.`)
})

test('a question is what the caller asked, without what was put before it', () => {
  const messages = [
    { role: 'system', content: 'Be kind.' }, { role: 'user', content: 'One?' },
    { role: 'user', content: [{ type: 'text', text: 'Two?' }, { type: 'image_url', image_url: {} }] },
  ]
  assert.equal(questionOf({ messages }), 'One?\n\nTwo?')
})

test('a request that is being stopped says so until it has ended', () => {
  const stopping = newRequest('r', { status: 'running', text: 'so far', isStopping: true })
  assert.equal(wordsForRequest(stopping, 0), 'Stopping…')
  assert.equal(wordsForRequest({ ...stopping, status: 'cancelled' }, 0), 'Stopped.')
})

test('without a worker, a question says since when and where it is', () => {
  const since = new Date(2026, 0, 2, 15, 4).getTime() / 1_000
  assert.equal(words({ position: 0, noWorkerSince: since }), 'No worker has asked for work since 15:04. The question waits in the queue.')
  assert.equal(words({ position: 3, noWorkerSince: since, waiting: { until: 99_000 } }), words({ noWorkerSince: since }))
  assert.equal(words({ status: 'running', noWorkerSince: since }), 'Thinking…')
})

test('a screen reader hears that the connection was lost, no retry, and that it is back', () => {
  assert.equal(wordsForConnection('open', false), '')
  assert.equal(wordsForConnection('reconnecting', false), 'Connection lost. The server continues the answer.')
  for (const status of ['reconnecting', 'connecting']) assert.equal(wordsForConnection(status, true), '')
  assert.equal(wordsForConnection('open', true), 'Connected again.')
})

test('a short value is one line, and a long one is cut there and on the whole', () => {
  assert.equal(wordsForResult({ result: 'on\n its way ', isError: false }), 'Result: on its way')
  assert.equal(wordsForResult({ result: { a: null }, isError: true }), 'Failed: {"a":null}')
  assert.equal(wordsForData({ name: 'row', value: undefined }), 'row: null')
  assert.equal(shortOf(`${'x'.repeat(79)}😀`), `${'x'.repeat(79)}\ufffd…`)
  assert.deepEqual([fitsOnALine('x'.repeat(80)), fitsOnALine('x'.repeat(81))], [true, false])
  assert.equal(wholeOf(['x'.repeat(30_000)]).length, 20_001)
})
