/** Pure: what the page says about a request, a connection or an error. No DOM here. */

import { attachmentOf, lastOfUser, wordsForBytes } from './attachments.js'
import { wordsForUsage } from './usage_words.js'

const FINISHED = {
  stop: '',
  tool_calls: '',
  function_call: '',
  length: 'Cut off at the length limit.',
  content_filter: 'Cut off by the content filter.',
}
const INTERRUPTED = { reset: 'Interrupted, so it started over.', resumed: 'Interrupted, then continued.' }
const CONNECTIONS = {
  connecting: 'Connecting…',
  reconnecting: 'Connection lost. Reconnecting… The server continues the answer.',
}

/** One line about where a request stands; empty when its text says it all. `nowMs` is `Date.now()`. */
export function wordsForRequest(request, nowMs) {
  if (request.isStopping && ['queued', 'running'].includes(request.status)) return 'Stopping…'
  switch (request.status) {
    case 'queued': return wordsForWaiting(request, nowMs)
    case 'running': return INTERRUPTED[request.interruption] ?? (request.text ? '' : 'Thinking…')
    case 'completed': return wordsForEnd(request)
    case 'failed': return `Failed: ${request.error?.message ?? 'the server kept no reason.'}`
    case 'cancelled': return 'Stopped.'
    default: return 'This answer has expired on the server.'
  }
}

function wordsForWaiting({ waiting, position, noWorkerSince }, nowMs) {
  if (noWorkerSince) return wordsForNoWorker(noWorkerSince)
  if (waiting) {
    const seconds = Math.ceil((new Date(waiting.until) - nowMs) / 1_000)
    return seconds > 0 ? `The model is busy. Trying again in ${seconds} s.` : 'The model is busy. Trying again…'
  }
  if (position === null) return 'Waiting its turn.'
  return position === 0 ? 'Next in line.' : `In line, ${position} ahead.`
}

/** `since` is in Unix seconds; the time of day is the reader's own. */
function wordsForNoWorker(since) {
  const time = new Date(since * 1_000).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  return `No worker has asked for work since ${time}. The question waits in the queue.`
}

function wordsForEnd(request) {
  const { finishReason, interruption } = request
  const odd = finishReason && !(finishReason in FINISHED) ? `Ended by the model’s server: ${finishReason}.` : ''
  const how = FINISHED[finishReason] || odd || INTERRUPTED[interruption]
  return [how, wordsForUsage(request)].filter(Boolean).join(' ')
}

/** One line about what Enter will do with a command; empty for a question. */
export function wordsForCommand(command) {
  if (!command) return ''
  const name = ['help', 'clear', 'shortcut'].includes(command.name) ? command.name : `gpt ${command.name}`
  return command.problem ?? `Enter runs ${name}`
}

/** What a screen reader says when an answer begins. */
export const wordsForBeginning = () => 'The answer began.'

/** What a screen reader says when the connection changes; empty if it heard it before. `isLost` is what it heard last. */
export function wordsForConnection(status, isLost) {
  if (status === 'reconnecting' && !isLost) return 'Connection lost. The server continues the answer.'
  return status === 'open' && isLost ? 'Connected again.' : ''
}

/** What a screen reader says when a request has ended: how, and how much there is to read. */
export function wordsForEnding(request) {
  const count = request.text.trim() === '' ? 0 : request.text.trim().split(/\s+/u).length
  const words = count === 1 ? '1 word' : `${count} words`
  switch (request.status) {
    case 'completed': return `Answer finished, ${words}.`
    case 'cancelled': return `Answer stopped, ${words}.`
    case 'failed': return `Answer failed: ${request.error?.message ?? 'the server kept no reason.'}`
    default: return wordsForRequest(request, Date.now())
  }
}

/** One line for the whole page: trouble with the connection first, else what the active request is doing. */
export function wordsForPage({ requests }, connection, nowMs) {
  if (connection.status === 'closed') return connection.error ? wordsForError(connection.error) : ''
  if (CONNECTIONS[connection.status]) return CONNECTIONS[connection.status]
  const active = activeRequest(requests)
  return active ? wordsForRequest(active, nowMs) : ''
}

/** An error, with the field it is about if it is about one and does not say so itself. */
export function wordsForError({ status, param, message }) {
  if (status === 401) return 'This server asks for a key.'
  if (status === 413) return wordsForTooLarge(message)
  return param && !message.startsWith(param) ? `${param}: ${message}` : message
}

/** A proxy in front of the server has a limit of its own, and does not name it. */
function wordsForTooLarge(message) {
  const [, bytes] = /larger than (\d+) bytes/.exec(message) ?? []
  const limit = bytes ? `, which takes ${wordsForBytes(Number(bytes))} at most` : ''
  return `The question and its attachments are too large for this server${limit}.`
}

/** The request that Stop stops: the running one, else the first in line. */
export function activeRequest(requests) {
  return requests.find(({ status }) => status === 'running') ?? requests.find(({ status }) => status === 'queued')
}

/** What was asked, in words: the text of the caller's last messages. Attachments are left out (`attachedParts`). */
export function questionOf({ messages }) {
  return lastOfUser(messages).map(({ content }) => textOf(content)).filter(Boolean).join('\n\n')
}

function textOf(content) {
  if (!Array.isArray(content)) return content ?? ''
  return content.filter((part) => attachmentOf(part) === null).map(({ text }) => text).join('\n')
}
