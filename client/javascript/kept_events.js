/** Pure: the events of one conversation, kept as short as they can be, for tabs that join late. */

import { isOver } from './fold.js'

const TEXTS = ['delta', 'reasoning', 'refusal']
/** The text before these is not part of the answer. */
const CLEARING = ['started', 'reset', 'rewind']
/** Of these, only the latest says how things are. */
const PASSING = ['position', 'waiting']

/** Notices about the whole conversation. */
const OF_ALL = ['watchers', 'title']

/**
 * Whoever folds `events` behind a `rewind` has the state of a reader that got every event. Pieces of text are joined, so
 * an answer of any length is a few events. `cursor` is where to read on.
 */
export class KeptEvents {
  #ended = new Set()
  events = []
  cursor = null

  /** Keep an event. Returns the event as tabs should get it, or null if it says nothing new. */
  take({ kind, id, data }) {
    // A notice about the conversation may come with the request that is read at the time.
    const requestId = OF_ALL.includes(kind) ? undefined : data.request_id
    // The last id of a stream stands for all its conversations. An event without one of its own gets none.
    const isOwn = requestId !== undefined && id.startsWith(`${requestId}:`)
    const event = { kind, id: isOwn ? id : '', data }
    if (requestId === undefined) {
      this.#takeOfAll(event)
      return event
    }
    // What has ended is sent once more when its log has expired: such events have no id to resume after.
    if (this.#ended.has(requestId) && kind !== 'rewind' && kind !== 'erased') return null
    if (isOwn) this.cursor = id
    this.#takeOf(requestId, event)
    return event
  }

  #takeOfAll(event) {
    if (event.kind === 'rewind') {
      this.events = this.events.filter(({ kind }) => OF_ALL.includes(kind))
      this.#ended.clear()
      this.cursor = null
    } else {
      this.events = [...this.events.filter(({ kind }) => kind !== event.kind), event]
    }
  }

  #takeOf(requestId, event) {
    const { kind, data } = event
    if (kind === 'rewind') this.#ended.delete(requestId)
    if (isOver({ status: kind === 'snapshot' ? data.status : kind })) this.#ended.add(requestId)
    if (kind === 'erased') this.#erase(requestId)
    if (CLEARING.includes(kind)) this.#dropWhere((one) => one.data.request_id === requestId && one.kind !== 'queued')
    const last = this.events.at(-1)
    if (isSameText(last, event)) this.events[this.events.length - 1] = joined(last, event)
    else if (PASSING.includes(kind) && last?.kind === kind && last.data.request_id === requestId) this.events[this.events.length - 1] = event
    else this.events.push(event)
  }

  /** Only the place in the conversation is left, for the requests that follow the erased one. */
  #erase(requestId) {
    this.#dropWhere(({ kind, data }) => data.request_id === requestId && kind !== 'queued')
    this.events = this.events.map((one) => (
      one.data.request_id === requestId ? { ...one, data: { request_id: requestId, parent_id: one.data.parent_id ?? null } } : one
    ))
  }

  #dropWhere(isDropped) {
    this.events = this.events.filter((one) => !isDropped(one))
  }
}

/** Pieces with anything but text, such as fields that only their upstream knows, stay apart. */
function isSameText(last, { kind, data }) {
  return TEXTS.includes(kind) && last?.kind === kind && last.data.request_id === data.request_id
    && Object.keys(last.data).length === 2 && Object.keys(data).length === 2
}

const joined = (last, { kind, id, data }) => ({ kind, id: id || last.id, data: { ...data, text: last.data.text + data.text } })
