/** Keeps a stream connected: made again whenever it ends, with back-off. Knows nothing of what the stream carries. */

import { backoffMs } from './calls.js'

/** After a connection that lasted this long, the back-off starts from its first delay. */
const STEADY_MS = 5_000

/** Whether an answer with this status will be the same at every repetition. */
export const isRefusal = (status) => status >= 400 && status < 500 && ![408, 425, 429].includes(status)

/**
 * One stream over as many connections as it takes. `connection` is `{status, error}`, and `onChange(connection)` is
 * called when it changes.
 *
 * `read(signal)` makes one connection and resolves to the TickertapeError that ended it. `judge(error)` may call `close`;
 * it returns true if the next connection must not wait.
 */
export class Reconnection {
  #read
  #judge
  #onChange
  #failures = 0
  #attempt = new AbortController()
  #life = new AbortController()
  #wake = () => {}
  #isPaused = false
  connection = { status: 'connecting', error: null }

  constructor({ read, judge, onChange }) {
    this.#read = read
    this.#judge = judge
    this.#onChange = onChange
  }

  /** Aborted when the stream is closed. */
  get closed() {
    return this.#life.signal
  }

  /** Read until closed. */
  async run() {
    while (!this.closed.aborted) {
      this.#change(this.#failures > 0 ? 'reconnecting' : 'connecting')
      this.#attempt = new AbortController()
      const { signal } = this.#attempt
      const since = Date.now()
      const error = await this.#read(signal)
      if (Date.now() - since > STEADY_MS) this.#failures = 0
      if (!signal.aborted) await this.#sleep(this.#delayAfter(error))
      while (this.#isPaused) await this.#sleep()
    }
  }

  /** Note that the server has accepted the connection. */
  opened() {
    this.#change('open')
  }

  /** Note that an event arrived, so the next failure is the first one. */
  heard() {
    this.#failures = 0
  }

  /** Drop the connection and make it again at once. */
  reconnect() {
    this.#failures = 0
    this.#isPaused = false
    this.#attempt.abort()
    this.#wake()
  }

  /** Drop the connection until `reconnect`. */
  pause() {
    if (this.closed.aborted) return
    this.#attempt.abort()
    this.#wake()
    this.#isPaused = true
    this.#change('paused')
  }

  /** Read no more. */
  close(error = null) {
    if (this.closed.aborted) return
    this.#life.abort()
    this.reconnect()
    this.#change('closed', error)
  }

  #delayAfter(error) {
    if (this.#judge(error)) return 0
    if (!this.closed.aborted) this.#change('reconnecting')
    this.#failures += 1
    return Math.max(error.retryAfterMs, backoffMs(this.#failures - 1))
  }

  /** Until the time is over or `reconnect` is called; without a time, until then. */
  #sleep(delayMs) {
    if (this.closed.aborted) return null
    return new Promise((resolve) => {
      const timer = delayMs === undefined ? undefined : setTimeout(resolve, delayMs)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #change(status, error = null) {
    if (status === this.connection.status) return
    this.connection = { status, error }
    this.#onChange(this.connection)
  }
}
