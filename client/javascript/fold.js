/**
 * Pure: what the events of a request, or of a conversation, mean. Every reader folds the same log, so all of them end
 * with the same text. Knows nothing of networks and pages.
 */

const ENDS = ['completed', 'failed', 'cancelled', 'gone']
/** Every kind of event a native stream sends. */
export const KINDS = [
  'queued', 'started', 'delta', 'reasoning', 'refusal', 'tool_call', 'tool_result', 'data', 'reset', 'resumed',
  'snapshot', 'rewind', 'position', 'waiting', 'erased', 'watchers', 'title', ...ENDS,
]
/** What a server sends on a quiet stream, to show that the connection lives. Says nothing about any request. */
export const HEARTBEAT = 'heartbeat'

const NO_OUTPUT = { text: '', reasoning: '', refusal: '', toolCalls: [], toolResults: [], data: [] }
const NOT_WAITING = { position: null, noWorkerSince: null, waiting: null }

/** Whether a request has ended: nothing follows `completed`, `failed`, `cancelled` or `gone` (its log has expired). */
export const isOver = (request) => ENDS.includes(request.status)

/** A request without entries yet. `expected`: the server accepted it, but the stream has no entry of it. */
export function newRequest(requestId, known = {}) {
  return {
    requestId, status: 'queued', ...NO_OUTPUT, messages: [], role: null, parentId: null, model: null, n: 0, interruption: null,
    ...NOT_WAITING, cursor: null, error: null, usage: null, timing: null, options: null, finishReason: null, sha256: null,
    expected: false, ...known,
  }
}

/**
 * A conversation of which nothing is known yet; `requests` is in the order of the server's log, `watchers` is how many
 * clients read it, with this one. `title` is undefined until the server has one, null if the server erased it.
 */
export const newConversation = (conversationId) => ({ conversationId, requests: [], cursor: null, watchers: 1, title: undefined })

/**
 * The conversation with a request that the server accepted and whose turn has not come, or with more `known` about it.
 * A stream tells one request after the other: without this, a question would show only when the one before is answered.
 * Its `parentId` is undefined until it is known: then it follows the request before it.
 */
export function expectRequest(conversation, requestId, known) {
  const { requests } = conversation
  const before = requests.find((request) => request.requestId === requestId)
  if (before && !before.expected) return conversation
  const after = { ...(before ?? newRequest(requestId, { parentId: undefined })), ...known, expected: true }
  const others = before ? requests.map((request) => (request === before ? after : request)) : [...requests, after]
  return { ...conversation, requests: others }
}

/** The conversation with more `known` of one of its requests, such as what the reader has just asked the server to do. */
export function markRequest(conversation, requestId, known) {
  const requests = conversation.requests.map((one) => (one.requestId === requestId ? { ...one, ...known } : one))
  return { ...conversation, requests }
}

/**
 * The state after one more event, of a request or of a conversation. Pure: the state given stays as it was, and a
 * request that an event does not concern stays the same object. `event` is `{kind, id, data}`.
 */
export function fold(state, event) {
  return 'requests' in state ? foldConversation(state, event) : foldRequest(state, event)
}

function foldConversation(state, event) {
  const { requests } = state
  const requestId = event.data.request_id
  if (event.kind === 'watchers') return { ...state, watchers: event.data.count }
  if (event.kind === 'title') return { ...state, title: event.data.title }
  if (!requestId) {
    // Only a rewind concerns all of a conversation; a replay follows, and what is only expected is not yet in it.
    return event.kind === 'rewind' ? { ...state, cursor: null, requests: requests.filter((one) => one.expected) } : state
  }
  if (event.kind === 'erased') return { ...state, requests: withoutTurn(requests, requestId) }
  const cursor = event.id || state.cursor
  const known = requests.find((request) => request.requestId === requestId)
  const before = known ?? newRequest(requestId)
  const after = { ...foldRequest(before, event), expected: false }
  if (known && !known.expected) {
    return { ...state, cursor, requests: requests.map((request) => (request === known ? after : request)) }
  }
  // Two browsers that ask at the same time must show one order, the log's: what is only expected stays below it.
  const others = requests.filter((request) => request !== known)
  const streamed = others.filter((request) => !request.expected)
  return { ...state, cursor, requests: [...streamed, after, ...others.filter((request) => request.expected)] }
}

/** The requests of a conversation without an erased one. Those that followed it follow the request before it. */
function withoutTurn(requests, requestId) {
  const erased = requests.find((request) => request.requestId === requestId)
  if (!erased) return requests
  return requests.filter((request) => request !== erased).map((request) => (
    request.parentId === requestId ? { ...request, parentId: erased.parentId } : request
  ))
}

function foldRequest(state, { kind, id, data }) {
  if (isOver(state) && kind !== 'rewind') return state
  const cursor = id || state.cursor
  return Object.hasOwn(CHANGES, kind) ? { ...state, cursor, ...CHANGES[kind](state, data) } : state
}

/** What the worker measured, in ms from the begin of the last attempt; null in logs of version 0.1. */
const timingOf = (timing) => (timing ? { firstOutputMs: timing.first_output_ms, totalMs: timing.total_ms } : null)

const opened = (data, interruption) => ({ ...NOT_WAITING, status: 'running', n: data.n, interruption })

const CHANGES = {
  queued: (state, data) => ({
    ...NO_OUTPUT, status: 'queued', messages: data.messages ?? state.messages, role: data.role ?? state.role,
    parentId: data.parent_id === undefined ? state.parentId : data.parent_id,
    options: { model: data.model ?? null, temperature: data.temperature ?? null, variables: data.variables ?? {} },
  }),
  started: (state, data) => ({ ...NO_OUTPUT, ...opened(data, null), model: data.model ?? state.model }),
  reset: (state, data) => ({ ...NO_OUTPUT, ...opened(data, 'reset') }),
  resumed: (state, data) => opened(data, 'resumed'),
  rewind: ({ requestId, messages, role, parentId, options }) => newRequest(requestId, { messages, role, parentId, options }),
  snapshot: (state, { text, reasoning, refusal, tool_calls, tool_results, data, status, n }) => ({
    text, reasoning: reasoning ?? '', refusal: refusal ?? '', toolCalls: tool_calls ?? [],
    toolResults: (tool_results ?? []).map(toolResultOf), data: (data ?? []).map(dataOf), status, n,
  }),
  delta: (state, data) => ({ text: state.text + data.text }),
  reasoning: (state, data) => ({ reasoning: state.reasoning + data.text }),
  refusal: (state, data) => ({ refusal: state.refusal + data.text }),
  tool_call: (state, data) => ({ toolCalls: addToolCall(state.toolCalls, data) }),
  tool_result: (state, data) => ({ toolResults: [...state.toolResults, toolResultOf(data)] }),
  data: (state, data) => ({ data: addData(state.data, dataOf(data)) }),
  position: (state, data) => ({ position: data.position, noWorkerSince: data.no_worker_since ?? null }),
  waiting: (state, data) => ({ status: 'queued', waiting: { until: data.until, reason: data.reason }, position: null }),
  completed: (state, data) => ({
    ...NOT_WAITING, status: 'completed', finishReason: data.finish_reason ?? null, usage: data.usage ?? null,
    sha256: data.sha256 ?? null, timing: timingOf(data.timing),
  }),
  failed: (state, { code, message, retryable }) => ({
    ...NOT_WAITING, status: 'failed', error: { code, message, retryable },
  }),
  cancelled: () => ({ ...NOT_WAITING, status: 'cancelled' }),
  gone: () => ({ ...NOT_WAITING, status: 'gone' }),
}

/**
 * A call comes in pieces under one index: its id and name first, then its arguments. `type` is there if it is not a
 * function's; `x` is what only its upstream knows, whole in one of the pieces.
 */
function addToolCall(calls, { index = 0, id, name, arguments: piece, type, x }) {
  const call = calls.find((other) => other.index === index) ?? { index, id: null, name: '', arguments: '' }
  const grown = {
    ...(type && { type }), ...(x && { x }), ...call,
    id: call.id || id || null, name: call.name || name || '', arguments: call.arguments + (piece ?? ''),
  }
  return [...calls.filter((other) => other !== call), grown].sort((a, b) => a.index - b.index)
}

const toolResultOf = ({ index, id, result, is_error: isError }) => ({ index, id, result, isError: isError ?? false })

const dataOf = ({ name, id, value }) => ({ name, id: id ?? null, value })

/** Data with an id takes the place of earlier data with its name and id. */
function addData(data, part) {
  const before = part.id === null ? undefined : data.find(({ id, name }) => id === part.id && name === part.name)
  return before ? data.map((other) => (other === before ? part : other)) : [...data, part]
}
