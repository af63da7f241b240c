/** One `POST /streams` for many conversations, and who in the browser reads each of them. */

import { isRefusal, Reconnection } from './reconnection.js'
import { KeptEvents } from './kept_events.js'
import { readWithFetch } from './streams.js'

/** What the server accepts in one call. */
export const MAX_CONVERSATIONS = 100
/** Tabs that open together, as after a restart of the browser, cost one new connection. */
const GATHER_MS = 30

/** A conversation and the tabs that show it. A tab is `{send(message)}`. */
export class SharedConversation {
  #kept = new KeptEvents()
  #batch = []
  tabs = new Set()

  constructor(conversationId) {
    this.conversationId = conversationId
  }

  get cursor() {
    return this.#kept.cursor
  }

  /** The tab gets the conversation so far, and then each event. */
  join(tab) {
    this.#flush()
    this.tabs.add(tab)
    tab.send({ verb: 'replay', events: [...this.#kept.events] })
  }

  /** Hand an event on. All that arrive in one piece of the network leave in one message. */
  take(event) {
    const news = this.#kept.take(event)
    if (!news) return
    if (this.#batch.length === 0) queueMicrotask(() => this.#flush())
    this.#batch.push(news)
  }

  send(message) {
    this.tabs.forEach((tab) => tab.send(message))
  }

  #flush() {
    if (this.#batch.length > 0) this.send({ verb: 'events', events: this.#batch })
    this.#batch = []
  }
}

/** Reads its conversations until closed; each new connection goes on behind the last event of each. */
export class SharedStream {
  #options
  #reconnection
  #sent = []
  #gathering
  #shown = null
  conversations = new Map()

  /** `onRefused(error)`: the server refuses this reader. `onAlone(conversations)`: it refuses these in one stream. */
  constructor(options) {
    this.#options = options
    this.#reconnection = new Reconnection({
      read: (signal) => this.#read(signal), judge: (error) => this.#judge(error), onChange: () => this.#report(),
    })
    this.#gathering = setTimeout(() => this.#reconnection.run(), GATHER_MS)
  }

  get hasRoom() {
    return this.conversations.size < MAX_CONVERSATIONS
  }

  get connection() {
    return this.#reconnection.connection
  }

  add(conversation) {
    this.conversations.set(conversation.conversationId, conversation)
    this.#remake()
  }

  remove(conversation) {
    this.conversations.delete(conversation.conversationId)
    if (this.conversations.size > 0) this.#remake()
    else this.close()
  }

  /** Make the connection again: the network changed, or a tab wants it. */
  reconnect() {
    if (this.connection.status !== 'paused') this.#reconnection.reconnect()
  }

  /** Somebody looks: wait no longer for the next try. */
  resume() {
    if (['paused', 'reconnecting'].includes(this.connection.status)) this.#reconnection.reconnect()
  }

  pause() {
    this.#reconnection.pause()
  }

  close() {
    clearTimeout(this.#gathering)
    this.conversations.clear()
    this.#reconnection.close()
  }

  #remake() {
    if (this.#sent.length === 0) return // the first connection is not made, and will have all
    clearTimeout(this.#gathering)
    this.#gathering = setTimeout(() => this.reconnect(), GATHER_MS)
  }

  #read(signal) {
    const { url, apiKey, fetch } = this.#options
    clearTimeout(this.#gathering)
    this.#sent = [...this.conversations.values()]
    const conversations = this.#sent.map(({ conversationId, cursor }) => ({ conversation_id: conversationId, after: cursor }))
    const init = {
      method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ conversations }),
    }
    // A conversation that was closed and opened again has the same id, and must not begin in the middle.
    const asked = new Map(this.conversations)
    let current
    const onEvent = (event) => {
      this.#reconnection.heard()
      if (event.kind === 'conversation') current = asked.get(event.data.conversation_id)
      else current?.take(event)
    }
    const onOpen = () => this.#reconnection.opened()
    return readWithFetch(url, { apiKey, fetch, signal, onOpen, onEvent, init })
  }

  /** What the end of a connection means; true if the next one must not wait. */
  #judge(error) {
    const { status } = error
    if (!isRefusal(status)) return false
    if (status === 401 || status === 403) {
      this.#options.onRefused(error)
      return false
    }
    const refused = this.#refusedBy(error)
    const resuming = refused.filter(({ cursor }) => cursor)
    if (status === 400 && resuming.length > 0) {
      resuming.forEach((one) => one.take({ kind: 'rewind', id: '', data: {} }))
    } else {
      this.#options.onAlone(refused)
    }
    return true
  }

  /** The conversation that the server names in its refusal, else all. */
  #refusedBy({ param }) {
    const named = this.#sent[/^conversations\[(\d+)\]/.exec(param ?? '')?.[1]]
    const sent = named ? [named] : this.#sent
    return sent.filter(({ conversationId }) => this.conversations.has(conversationId))
  }

  /** The other tabs need not know that the connection is made again for one more tab. */
  #report() {
    const { status, error } = this.connection
    if (status === 'connecting' && this.#shown === 'open') return
    this.#shown = status
    this.conversations.forEach((conversation) => conversation.send({ verb: 'connection', status, error: plain(error) }))
  }
}

/** An error as a message can carry it. */
export const plain = (error) => error && {
  message: error.message, type: error.type, param: error.param, code: error.code, status: error.status, retryAfterMs: error.retryAfterMs,
}
