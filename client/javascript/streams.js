/**
 * One connection to an event stream, read until it ends, through fetch or through the browser's EventSource.
 * Both resolve to the reason why it ended, a TickertapeError (status 200: it just ended), and never reject.
 */

import { authorization, errorOf, TickertapeError, unreachable } from './calls.js'
import { KINDS } from './fold.js'

/** Four of the server's default heartbeats. Without a limit, a silently dropped connection would be read indefinitely. */
const SILENCE_MS = 60_000

/**
 * A function to feed with the text of an event stream, cut anywhere, that calls `onEvent` with `{kind, id, data}` as the
 * HTML standard reads them. An event whose blank line never came is not reported.
 */
export function eventStreamDecoder(onEvent) {
  let [rest, afterCr, kind, id, data] = ['', false, '', '', []]
  const takeLine = (line) => {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line)
    if (field === 'event') kind = value
    if (field === 'data') data.push(value)
    if (field === 'id' && !value.includes('\0')) id = value
    if (line !== '') return
    if (data.length > 0) onEvent({ kind: kind || 'message', id, data: data.join('\n') })
    kind = ''
    data = []
  }
  return (piece) => {
    // A CR has ended its line already; the LF of the same CRLF may come at the head of the next piece.
    const text = afterCr && piece.startsWith('\n') ? piece.slice(1) : piece
    if (piece) afterCr = piece.endsWith('\r')
    const lines = (rest + text).split(/\r\n|\n|\r/)
    rest = lines.pop()
    lines.forEach(takeLine)
  }
}

/** Can send a key, sees the status of a refusal, and notices a connection that fell silent. */
export async function readWithFetch(url, { apiKey, fetch, signal, onOpen, onEvent }) {
  let [silence, reader] = []
  try {
    const headers = { Accept: 'text/event-stream', ...authorization(apiKey) }
    const response = await fetch(url, { headers, signal, cache: 'no-store' })
    if (response.status !== 200) return await errorOf(response)
    onOpen()
    const feed = eventStreamDecoder((event) => signal.aborted || onEvent({ ...event, data: JSON.parse(event.data) }))
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      silence = setTimeout(() => reader.cancel(), SILENCE_MS)
      const { done, value } = await reader.read()
      clearTimeout(silence)
      if (done) return new TickertapeError({ message: 'The stream ended.' }, 200)
      feed(value)
    }
  } catch {
    return unreachable()
  } finally {
    clearTimeout(silence)
    reader?.cancel().catch(() => {}) // an event we cannot read must not leave the connection open
  }
}

/** Uses EventSource, which hides why a server refused a stream. A fetch then reads the reason. */
export async function readWithEventSource(url, { EventSource, fetch, signal, onOpen, onEvent }) {
  const source = new EventSource(url)
  const isRefused = await new Promise((resolve) => {
    const take = ({ type, lastEventId, data }) => {
      try {
        onEvent({ kind: type, id: lastEventId, data: JSON.parse(data) })
      } catch {
        resolve(false) // not ours, or not whole: read again behind the last good event
      }
    }
    KINDS.forEach((kind) => source.addEventListener(kind, take))
    source.addEventListener('open', onOpen)
    source.addEventListener('error', () => resolve(source.readyState === EventSource.CLOSED))
    signal.addEventListener('abort', () => resolve(false), { once: true })
  })
  source.close()
  if (!isRefused) return unreachable()
  const answered = new AbortController()
  const stop = () => answered.abort()
  signal.addEventListener('abort', stop, { once: true })
  return readWithFetch(url, { fetch, signal: answered.signal, onOpen: stop, onEvent })
}
