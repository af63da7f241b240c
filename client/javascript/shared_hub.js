/**
 * Pure: which tabs of a browser read which conversations, over as few streams as will do. Knows no SharedWorker; a tab
 * is anything with `send(message)`.
 */

import { MAX_CONVERSATIONS, plain, SharedConversation, SharedStream } from './shared_stream.js'

/** How often `tick` is to be called. */
export const PING_MS = 10_000
/** A tab that leaves so many pings unanswered has crashed or is frozen. */
const MISSED_PINGS = 3
/** A reloaded tab finds its conversation as it was. */
const LEAVE_MS = 2_000
/** A browser of which no tab can be seen for this long gives its connection back. */
const HIDDEN_MS = 15_000
/** A browser opens at most six connections per server over HTTP/1.1. */
const MAX_STREAMS = 3

/**
 * Takes the messages of tabs: `join` (`url`, `apiKey`, `conversationId`, `isHidden`), `hidden` (`isHidden`), `reconnect`,
 * `pong`, `leave` (`isKept`). Sends `replay` and `events` (`events`), `connection` (`status`, `error`), `ping`, `alone` (read it
 * yourself) and `dropped` (join again). Tabs share a stream only if both address and key are the same.
 */
export class SharedHub {
  #fetch
  #feeds = new Map()
  #members = new Map()
  #tickedAt = Date.now()

  constructor({ fetch = globalThis.fetch } = {}) {
    this.#fetch = fetch
  }

  /** Handle a message of a tab. */
  take(tab, { verb, ...message }) {
    const member = this.#members.get(tab)
    if (verb === 'join') this.#join(tab, message)
    if (!member) return
    member.missed = 0
    if (verb === 'hidden') {
      member.isHidden = message.isHidden
      member.feed.watchHidden()
    }
    if (verb === 'reconnect') member.feed.streamOf(member.conversation)?.reconnect()
    if (verb === 'leave') this.leave(tab, message)
  }

  /** The tab is closed, or `isKept` for the back button: a browser stops a worker all of whose tabs are, with its timers. */
  leave(tab, { isKept = false } = {}) {
    const member = this.#members.get(tab)
    this.#members.delete(tab)
    member?.feed.leave(member, isKept)
  }

  /** Ask every tab whether it lives, and drop those that do not answer. */
  tick() {
    const hasSlept = Date.now() - this.#tickedAt > 2.5 * PING_MS
    this.#tickedAt = Date.now()
    if (hasSlept) this.reconnect()
    for (const [tab, member] of this.#members) {
      member.missed += 1
      if (member.missed <= MISSED_PINGS) tab.send({ verb: 'ping' })
      else this.#drop(tab)
    }
  }

  /** The network changed, so no connection is to be trusted. */
  reconnect() {
    this.#feeds.forEach((feed) => feed.reconnect())
  }

  /** A frozen tab would pile up messages. It finds this one when it thaws. */
  #drop(tab) {
    this.leave(tab)
    tab.send({ verb: 'dropped' })
  }

  #join(tab, { url, apiKey, conversationId, isHidden }) {
    this.leave(tab)
    const key = JSON.stringify([url, apiKey || null])
    const onEnd = () => { if (this.#feeds.get(key) === feed) this.#feeds.delete(key) }
    const feed = this.#feeds.get(key) ?? new Feed({ url, apiKey, fetch: this.#fetch, onEnd })
    this.#feeds.set(key, feed)
    const member = { tab, feed, isHidden, missed: 0, conversation: null }
    if (feed.join(member, conversationId)) this.#members.set(tab, member)
    else tab.send({ verb: 'alone' })
  }
}

/** The tabs that read from one server with one key. */
class Feed {
  #options
  #streams = []
  #conversations = new Map()
  #members = new Set()
  #hiding

  constructor({ onEnd, ...options }) {
    this.#options = { ...options, onAlone: (refused) => this.#sendAlone(refused), onRefused: (error) => this.#refuse(error) }
    this.onEnd = onEnd
  }

  /** False if there are more conversations than the streams of one browser can have. */
  join(member, conversationId) {
    const conversation = this.#conversations.get(conversationId) ?? this.#open(conversationId)
    if (!conversation) return false
    member.conversation = conversation
    this.#members.add(member)
    conversation.join(member.tab)
    const { status } = this.streamOf(conversation).connection
    if (status === 'open') member.tab.send({ verb: 'connection', status, error: null })
    this.#resume()
    this.watchHidden()
    return true
  }

  leave(member, isKept) {
    const { conversation, tab } = member
    this.#members.delete(member)
    conversation.tabs.delete(tab)
    this.watchHidden()
    if (this.#members.size === 0 && isKept) this.#conversations.forEach((one) => this.#closeUnread(one))
    else if (conversation.tabs.size === 0) setTimeout(() => this.#closeUnread(conversation), LEAVE_MS)
  }

  streamOf(conversation) {
    return this.#streams.find(({ conversations }) => conversations.get(conversation.conversationId) === conversation)
  }

  reconnect() {
    this.#streams.forEach((stream) => stream.reconnect())
  }

  /** While any tab can be seen, all are read: the hidden ones cost no connection. */
  watchHidden() {
    clearTimeout(this.#hiding)
    if ([...this.#members].some(({ isHidden }) => !isHidden)) this.#resume()
    else this.#hiding = setTimeout(() => this.#streams.forEach((stream) => stream.pause()), HIDDEN_MS)
  }

  #resume() {
    this.#streams.forEach((stream) => stream.resume())
  }

  #open(conversationId) {
    const stream = this.#streams.find(({ hasRoom }) => hasRoom) ?? this.#addStream()
    if (!stream) return null
    const conversation = new SharedConversation(conversationId)
    this.#conversations.set(conversationId, conversation)
    stream.add(conversation)
    return conversation
  }

  #addStream() {
    if (this.#conversations.size >= MAX_STREAMS * MAX_CONVERSATIONS) return null
    const stream = new SharedStream(this.#options)
    this.#streams.push(stream)
    return stream
  }

  #closeUnread(conversation) {
    if (conversation.tabs.size === 0) this.#close(conversation)
  }

  #close(conversation) {
    const stream = this.streamOf(conversation)
    if (!stream) return
    this.#conversations.delete(conversation.conversationId)
    stream.remove(conversation)
    this.#streams = this.#streams.filter(({ conversations }) => conversations.size > 0)
    if (this.#streams.length === 0) this.#end()
  }

  /** The server refuses these in one stream: their tabs read them one by one, and see each its own reason. */
  #sendAlone(refused) {
    for (const conversation of refused) {
      conversation.send({ verb: 'alone' })
      this.#close(conversation)
    }
  }

  #refuse(error) {
    this.#streams.forEach((stream) => stream.close())
    this.#conversations.forEach((one) => one.send({ verb: 'connection', status: 'closed', error: plain(error) }))
    this.#end()
  }

  #end() {
    clearTimeout(this.#hiding)
    this.onEnd()
  }
}
