/** The kinds of events that a stream of a request, or of a conversation, consists of. */
export type EventKind =
  | 'queued' | 'started' | 'delta' | 'reasoning' | 'refusal' | 'tool_call' | 'tool_result' | 'data' | 'reset' | 'resumed'
  | 'snapshot' | 'rewind' | 'position' | 'waiting' | 'erased' | 'watchers' | 'title' | 'completed' | 'failed' | 'cancelled' | 'gone'

/** An event as the wire sends it; docs/wires.md names the fields of each kind's `data`. */
export interface StreamEvent {
  /** An EventKind. A later server may send others, which `fold` ignores. */
  kind: EventKind | (string & {})
  /** The cursor to resume behind; empty or missing in a notice. */
  id?: string
  data: { request_id?: string | null, [field: string]: unknown }
}

/** `gone`: the log has expired, or the request was erased. */
export type RequestStatus = 'queued' | 'running' | 'completed' | 'failed' | 'cancelled' | 'gone'

export interface ToolCall {
  index: number
  id: string | null
  name: string
  /** JSON, as far as it has arrived. */
  arguments: string
  type?: string
  /** What only the upstream of this call knows. */
  x?: Record<string, unknown>
}

/** What a tool gave that a function of the server ran. */
export interface ToolResult {
  /** The index of its call. */
  index: number
  /** The id of its call. */
  id: string
  /** Any JSON. */
  result: any
  /** Whether the tool failed. */
  isError: boolean
}

/** Data of a function of the server. With an id, later data of the same name and id takes its place. */
export interface DataPart {
  name: string
  id: string | null
  /** Any JSON. */
  value: any
}

/** The fold of a request's events. */
export interface RequestState {
  readonly requestId: string
  readonly status: RequestStatus
  /** The answer so far. `completed`: the answer. */
  readonly text: string
  readonly reasoning: string
  readonly refusal: string
  readonly toolCalls: readonly ToolCall[]
  readonly toolResults: readonly ToolResult[]
  readonly data: readonly DataPart[]
  /** The caller's messages of this request. */
  readonly messages: readonly Record<string, any>[]
  readonly role: string | null
  /** The request id of the turn before, in a stream of a conversation; undefined until it is known. */
  readonly parentId: string | null | undefined
  readonly model: string | null
  /** The number of the attempt, from 1; 0 before the first. */
  readonly n: number
  /** `reset`: the answer has started over. `resumed`: another attempt continues it. */
  readonly interruption: 'reset' | 'resumed' | null
  /** How many requests start earlier. */
  readonly position: number | null
  /** Since when no worker runs, as Unix time in s. */
  readonly noWorkerSince: number | null
  /** The upstream asked to wait until this Unix time in ms. */
  readonly waiting: { until: number, reason: string } | null
  /** The id of the last event: a stream resumes behind it. */
  readonly cursor: string | null
  /** Why the request failed. */
  readonly error: { code: string, message: string, retryable: boolean } | null
  readonly usage: Record<string, unknown> | null
  /** The ms from the begin of the last attempt to its first output and to its end, once completed. */
  readonly timing: { firstOutputMs: number, totalMs: number } | null
  /** What the caller chose for this request. */
  readonly options: { model: string | null, temperature: number | null, variables: Record<string, string> } | null
  readonly finishReason: string | null
  /** The SHA-256 of the complete text, in hex. */
  readonly sha256: string | null
  /** Whether the server accepted the request, and the stream has no entry of it yet. */
  readonly expected: boolean
}

/** The fold of the events of all requests of a conversation. */
export interface ConversationState {
  readonly conversationId: string
  /** In the order of their questions. */
  readonly requests: readonly RequestState[]
  readonly cursor: string | null
  /** How many clients read the conversation, with this one. */
  readonly watchers: number
  /** Absent until the server gave one; null when the question that it was made of was erased. */
  readonly title?: string | null
}

/** What a reader knows of a request before its stream says so, and fields of its own. */
export type Known = Partial<RequestState> & { readonly [own: string]: unknown }

export const KINDS: EventKind[]
export const HEARTBEAT: 'heartbeat'

/** The state after one more event. Pure: the state that is passed stays as it was. */
export function fold<State extends RequestState | ConversationState>(state: State, event: StreamEvent): State

/** Whether a request has ended, so that nothing follows. A conversation never ends. */
export function isOver(request: RequestState | ConversationState): boolean

export function newRequest(requestId: string, known?: Known): RequestState
export function newConversation(conversationId: string): ConversationState

/** The conversation with a request that the server accepted and whose events have not come. */
export function expectRequest(conversation: ConversationState, requestId: string, known?: Known): ConversationState

/** The conversation with more `known` of one of its requests. */
export function markRequest(conversation: ConversationState, requestId: string, known: Known): ConversationState
