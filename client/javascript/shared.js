/** Follow a conversation over one connection for all tabs of a browser. */

import { requireTarget, TickertapeError } from './calls.js'
import { follow } from './client.js'
import { expectRequest, fold, markRequest, newConversation } from './fold.js'
import { startWorker } from './shared_start.js'

/** After this long without a sign of life, the worker did not start. */
const START_MS = 10_000
/** After this long without a ping, the worker is dead. */
const SILENT_MS = 35_000
/** What a worker cannot do for a tab. */
const OWN = ['requestId', 'after', 'url', 'fetch', 'EventSource']

/**
 * As `follow` for a conversation, with the same options and the same follower. All tabs of a browser share one connection
 * to the server, whatever the number of their conversations. Each event comes over the network once.
 *
 * Where there is no SharedWorker, where it does not start, and with the options `requestId`, `after`, `url`, `fetch` and
 * `EventSource`, this is `follow`. `state` is shown until the conversation has come from the server.
 */
export function followShared(options = {}) {
  requireTarget(options)
  const canShare = globalThis.SharedWorker && globalThis.document && !OWN.some((name) => options[name])
  return canShare ? new SharedFollower(options) : follow(options)
}

/** `state` is the fold so far, `connection` as passed to `onState`; `closed` is a promise as that of `follow`. */
class SharedFollower {
  #options
  #worker = null
  #port = null
  #timer
  #isHeard = false
  #alone = null
  #life = new AbortController()
  #settle

  constructor(options) {
    this.#options = { onState: () => {}, ...options }
    this.state = options.state ?? newConversation(options.conversationId)
    this.connection = { status: 'connecting', error: null }
    this.closed = new Promise((resolve, reject) => { this.#settle = (error) => (error ? reject(error) : resolve(this.state)) })
    this.closed.catch(() => {}) // whoever does not ask for it must not be met by an unhandled rejection
    this.#join()
    this.#watchPage()
  }

  /** Show a request of this conversation, or what is `known` of it, before the stream comes to it. */
  expect(requestId, known) {
    if (this.#alone) this.#alone.expect(requestId, known)
    else this.#show(expectRequest(this.state, requestId, known))
  }

  /** Keep more `known` of a request of this conversation, as `{isStopping: true}`. A replay forgets this. */
  mark(requestId, known) {
    if (this.#alone) this.#alone.mark(requestId, known)
    else this.#show(markRequest(this.state, requestId, known))
  }

  /** Drop the connection of the browser and make it again at once, behind the last events. */
  reconnect() {
    if (this.#alone) this.#alone.reconnect()
    else this.#port?.postMessage({ verb: 'reconnect' })
  }

  /** Read no more. What is being written goes on. */
  close(error = null) {
    if (this.#life.signal.aborted) return
    this.#life.abort()
    this.#leave()
    if (this.#alone) this.#alone.close(error)
    else this.#connectionIs({ status: 'closed', error })
    this.#settle(error)
  }

  #join() {
    this.#leave()
    const { baseUrl = '', apiKey, conversationId } = this.#options
    try {
      this.#worker = startWorker()
      this.#worker.addEventListener('error', () => this.#goAlone())
      this.#port = this.#worker.port
      this.#port.onmessage = ({ target, data }) => { if (target === this.#port) this.#take(data) }
      const url = new URL(`${baseUrl}/streams`, location.href).href
      this.#port.postMessage({ verb: 'join', url, apiKey, conversationId, isHidden: document.hidden })
      this.#isHeard = false
      this.#restartTimer(START_MS)
    } catch {
      this.#goAlone() // another origin's worker, for example
    }
  }

  #leave({ isKept = false } = {}) {
    clearTimeout(this.#timer)
    this.#port?.postMessage({ verb: 'leave', isKept })
    this.#port?.close()
    this.#port = null
  }

  /** A worker that stopped in the middle is started once more; what does not start is done without. */
  #restartTimer(delayMs) {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => { (this.#isHeard ? this.#join() : this.#goAlone()) }, delayMs)
  }

  #take({ verb, events, status, error }) {
    this.#isHeard = true
    this.#restartTimer(SILENT_MS)
    if (verb === 'ping') this.#port.postMessage({ verb: 'pong' })
    if (verb === 'replay') this.#show([{ kind: 'rewind', id: '', data: {} }, ...events].reduce(fold, this.state))
    if (verb === 'events') this.#show(events.reduce(fold, this.state))
    if (verb === 'alone') this.#goAlone()
    if (verb === 'dropped') this.#join()
    if (verb !== 'connection') return
    if (status === 'closed') this.close(error && new TickertapeError(error, error.status, error.retryAfterMs))
    else this.#connectionIs({ status, error: null })
  }

  #goAlone() {
    if (this.#life.signal.aborted || this.#alone) return
    this.#leave()
    const onState = (state, connection) => {
      this.connection = connection
      this.#show(state)
    }
    this.#alone = follow({ ...this.#options, state: this.state, onState })
    this.#alone.closed.then(() => this.#settle(null), this.#settle)
  }

  #watchPage() {
    const { signal } = this.#life
    const say = () => this.#port?.postMessage({ verb: 'hidden', isHidden: document.hidden })
    document.addEventListener('visibilitychange', say, { signal })
    globalThis.addEventListener('pagehide', ({ persisted }) => this.#leave({ isKept: persisted }), { signal })
    globalThis.addEventListener('pageshow', ({ persisted }) => { if (persisted && !this.#alone) this.#join() }, { signal })
  }

  #connectionIs(connection) {
    if (connection.status === this.connection.status) return
    this.connection = connection
    this.#show(this.state)
  }

  /** A mistake in the caller's `onState` must not pass for a broken stream. */
  #show(state) {
    this.state = state
    try {
      this.#options.onState(this.state, this.connection)
    } catch (error) {
      console.error(error)
    }
  }
}
