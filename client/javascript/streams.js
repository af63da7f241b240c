/**
 * One connection to an event stream, read until it ends, through fetch or through the browser's EventSource.
 * Both resolve to the reason why it ended, a TickertapeError (status 200: it just ended), and never reject.
 */

import { authorization, errorOf, TickertapeError, unreachable } from './calls.js'
import { HEARTBEAT, KINDS } from './fold.js'

/** What a server does unless it was set up otherwise; its heartbeats say how often they come. */
const DEFAULT_HEARTBEAT_S = 15
/** More than the two heartbeats that can pass between an event and the next heartbeat of a stream that fell quiet. */
const SILENT_HEARTBEATS = 2.5

/** A connection that says nothing for 2.5 heartbeats is dead, whatever the browser thinks: NATs and VPNs end it unseen. */
function newSilenceWatch(onSilent) {
  let [timer, intervalS] = [undefined, DEFAULT_HEARTBEAT_S]
  const stop = () => clearTimeout(timer)
  const restart = () => {
    stop()
    timer = setTimeout(onSilent, intervalS * SILENT_HEARTBEATS * 1_000)
    timer?.unref?.() // in Node, only an open connection keeps the program alive
  }
  const take = ({ interval_s: stated }) => {
    if (stated > 0) intervalS = stated
    restart()
  }
  restart()
  return { restart, take, stop }
}

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
export async function readWithFetch(url, { apiKey, fetch, signal, onOpen, onEvent, init = {} }) {
  let [silence, reader] = []
  const request = new AbortController()
  const leave = () => request.abort()
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  try {
    const headers = { Accept: 'text/event-stream', ...init.headers, ...authorization(apiKey) }
    silence = newSilenceWatch(leave) // before the head: that may never come, too
    const response = await fetch(url, { ...init, headers, signal: request.signal, cache: 'no-store' })
    if (response.status !== 200) return await errorOf(response)
    onOpen()
    const feed = eventStreamDecoder(({ data, ...event }) => {
      if (signal.aborted) return
      if (event.kind === HEARTBEAT) silence.take(JSON.parse(data))
      else onEvent({ ...event, data: JSON.parse(data) })
    })
    reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
    for (;;) {
      const { done, value } = await reader.read()
      silence.restart()
      if (done) return new TickertapeError({ message: 'The stream ended.' }, 200)
      feed(value)
    }
  } catch {
    return unreachable()
  } finally {
    silence?.stop()
    signal.removeEventListener('abort', leave)
    reader?.cancel().catch(() => {}) // an event we cannot read must not leave the connection open
  }
}

/** Uses EventSource, which hides why a server refused a stream. A fetch then reads the reason. */
export async function readWithEventSource(url, { EventSource, fetch, signal, onOpen, onEvent }) {
  const source = new EventSource(url)
  let silence
  const isRefused = await new Promise((resolve) => {
    silence = newSilenceWatch(() => resolve(false))
    const take = ({ type, lastEventId, data }) => {
      silence.restart()
      try {
        onEvent({ kind: type, id: lastEventId, data: JSON.parse(data) })
      } catch {
        resolve(false) // not ours, or not whole: read again behind the last good event
      }
    }
    KINDS.forEach((kind) => source.addEventListener(kind, take))
    source.addEventListener(HEARTBEAT, ({ data }) => {
      try {
        silence.take(JSON.parse(data))
      } catch {
        silence.restart()
      }
    })
    source.addEventListener('open', onOpen)
    source.addEventListener('error', () => resolve(source.readyState === EventSource.CLOSED))
    signal.addEventListener('abort', () => resolve(false), { once: true })
  })
  silence.stop()
  source.close()
  if (!isRefused) return unreachable()
  const answered = new AbortController()
  const stop = () => answered.abort()
  signal.addEventListener('abort', stop, { once: true })
  return readWithFetch(url, { fetch, signal: answered.signal, onOpen: stop, onEvent })
}
