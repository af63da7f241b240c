/**
 * Tickertape in JavaScript: ask (`submit`), watch (`follow`), stop (`cancel`). No dependencies, no build step; this file
 * and those it imports run in browsers and in Node >= 20. docs/javascript-client.md describes every export.
 *
 *     const { request_id } = await submit({ message: 'Hello' })
 *     const follower = follow({ requestId: request_id, onState: (state) => { answer.textContent = state.text } })
 *
 * A follower is only a reader: closing it stops nothing, `cancel` does. An answer is a model's words: put it into a page
 * with `textContent`, never with `innerHTML`.
 */

import { requireServer, requireTarget } from './calls.js'
import { expectRequest, fold, isOver, markRequest, newConversation, newRequest } from './fold.js'
import { isRefusal, Reconnection } from './reconnection.js'
import { readWithEventSource, readWithFetch } from './streams.js'

export {
  cancel, eraseConversation, eraseTurn, issueTicket, listConversations, listRoles, newId, readConversation,
  renameConversation, revokeTickets, submit, TickertapeError,
} from './calls.js'
export { fold, isOver, newConversation, newRequest } from './fold.js'

/** A tab hidden this long closes its connection, because a browser opens at most six per server over HTTP/1.1. */
const HIDDEN_MS = 15_000

/**
 * Follow a request (`requestId`) to its end, or all requests of a conversation (`conversationId`) until closed.
 *
 * `onState(state, connection)` is called after each event and each change of the connection; a replay brings thousands
 * of events, so draw in an animation frame. `connection` is `{status, error}`: `connecting`, `open`, `reconnecting`,
 * `paused` (a hidden tab) or `closed`, with the TickertapeError that closed it or null. A connection that breaks, or that
 * a proxy refuses, is made again behind the last event, with back-off; at once when the network or the tab comes back.
 *
 * More options: `baseUrl`; `url`, the stream's address if it is not the usual one; `state`, an earlier fold to go on from
 * at its cursor; `after`, a cursor to start behind; `apiKey`, which EventSource cannot send: the stream is then read with
 * fetch, as it is where there is no EventSource. Returns a Follower, whose `closed` is a promise of the last state.
 */
export const follow = (options) => new Follower(options)

/**
 * `state` is the fold so far, `connection` as passed to `onState`. `closed` resolves to the last state when the follower
 * reads no more; it rejects with the TickertapeError that closed it.
 */
class Follower {
  #options
  #url
  #reconnection
  #settle

  constructor({ requestId, conversationId, baseUrl = '', url, state, after, ...options } = {}) {
    requireTarget({ requestId, conversationId, url })
    const thing = conversationId ? `conversations/${encodeURIComponent(conversationId)}` : `chat/${encodeURIComponent(requestId)}`
    this.#url = url ?? `${baseUrl}/${thing}/stream`
    requireServer(this.#url, options)
    this.#options = { fetch: globalThis.fetch, EventSource: globalThis.EventSource, onState: () => {}, ...options }
    this.state = state ?? (conversationId ? newConversation(conversationId) : newRequest(requestId))
    if (after) this.state = { ...this.state, cursor: after }
    this.closed = new Promise((resolve, reject) => { this.#settle = (error) => (error ? reject(error) : resolve(this.state)) })
    this.closed.catch(() => {}) // whoever does not ask for it must not be met by an unhandled rejection
    this.#reconnection = new Reconnection({
      read: (signal) => this.#read(signal), judge: (error) => this.#judge(error), onChange: () => this.#report(),
    })
    this.#watchPage()
    this.#run()
  }

  /** How the stream is connected: `{status, error}`. */
  get connection() {
    return this.#reconnection.connection
  }

  /** Show a request of this conversation, or what is `known` of it, before the stream comes to it. */
  expect(requestId, known) {
    this.state = expectRequest(this.state, requestId, known)
    this.#report()
  }

  /** Keep more `known` of a request of this conversation, as `{isStopping: true}`. A replay forgets this. */
  mark(requestId, known) {
    this.state = markRequest(this.state, requestId, known)
    this.#report()
  }

  /** Drop the connection and make it again at once, behind the last event. */
  reconnect() {
    this.#reconnection.reconnect()
  }

  /** Read no more. What is being written goes on. */
  close(error = null) {
    this.#reconnection.close(error)
    this.#settle(error)
  }

  async #run() {
    await null // so that `onState` is never called before the caller holds the follower
    if (isOver(this.state)) this.close()
    await this.#reconnection.run()
  }

  #read(signal) {
    const { cursor } = this.state
    const mark = this.#url.includes('?') ? '&' : '?'
    const url = cursor ? `${this.#url}${mark}after=${encodeURIComponent(cursor)}` : this.#url
    const read = this.#options.EventSource && !this.#options.apiKey ? readWithEventSource : readWithFetch
    const onOpen = () => this.#reconnection.opened()
    return read(url, { ...this.#options, signal, onOpen, onEvent: (event) => this.#take(event) })
  }

  #take(event) {
    this.#reconnection.heard()
    this.state = fold(this.state, event)
    if (isOver(this.state)) this.close()
    else this.#report()
  }

  /** What the end of a connection means. May close the follower; true if the next connection must not wait. */
  #judge(error) {
    const { status } = error
    const isRequest = !('requests' in this.state)
    if (this.state.cursor && (status === 400 || (isRequest && status === 204))) {
      // The server knows nothing behind our cursor, and we have no end: only a replay from the start can tell more.
      this.state = fold(this.state, { kind: 'rewind', data: {} })
      return true
    }
    if (isRequest && (status === 404 || status === 204)) this.#take({ kind: 'gone', data: {} })
    else if (isRefusal(status)) this.close(error)
    return false
  }

  #watchPage() {
    const { document } = globalThis
    let hiding
    const look = () => {
      clearTimeout(hiding)
      if (document?.hidden) hiding = setTimeout(() => this.#reconnection.pause(), HIDDEN_MS)
      else this.reconnect()
    }
    const { closed: signal } = this.#reconnection
    globalThis.addEventListener?.('online', look, { signal })
    // A page that the browser keeps for its back button keeps its connection, too: six of them block the server.
    globalThis.addEventListener?.('pagehide', () => this.#reconnection.pause(), { signal })
    globalThis.addEventListener?.('pageshow', ({ persisted }) => { if (persisted) look() }, { signal })
    document?.addEventListener('visibilitychange', look, { signal })
    if (document?.hidden) look()
  }

  /** A mistake in the caller's `onState` must not pass for a broken stream. */
  #report() {
    try {
      this.#options.onState(this.state, this.connection)
    } catch (error) {
      console.error(error)
    }
  }
}
