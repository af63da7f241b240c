import type {
  CancelView, ChatBody, ConversationList, ConversationSummary, ConversationView, RoleSummary, SubmittedView,
} from './bodies.js'

export type * from './bodies.js'

/** Options of every call that answers once. */
export interface CallOptions {
  /** The server, as `https://tickertape.example`. Without it, the server of the page; outside of a page it is required. */
  baseUrl?: string
  /** Sent as `Authorization: Bearer`. */
  apiKey?: string
  /** Ends the call; it then rejects with the signal's reason. */
  signal?: AbortSignal
  fetch?: typeof globalThis.fetch
  /** How often a call that nobody answers is made. Default: 6. */
  tries?: number
  /** Called before each further try, with what went wrong. */
  onRetry?: (error: TickertapeError) => void
}

export interface SubmitOptions extends CallOptions {
  /** Calls with one key are one request. Default: a new key for each `submit`, which all of its tries carry. */
  idempotencyKey?: string
}

export interface TurnsOptions extends CallOptions {
  /** How many of the newest turns. Default: all. */
  limit?: number | null
  /** The `before` of the page behind. */
  before?: string | null
}

/** A ticket, its end, and the end of all tickets that it is renewed to, in ms since 1970. */
export interface Ticket {
  readonly ticket: string
  readonly expires_ms: number
  readonly ends_ms: number
}

export interface TicketOptions extends CallOptions {
  /** `read` by default; `write` also submits, and `cancel` also stops answers. */
  rights?: 'read' | 'write' | 'cancel'
  /** For how many seconds the ticket is valid: 300 by default, at most a week. */
  ttlS?: number
}

export interface ListOptions extends CallOptions {
  /** Only conversations with these words in their titles. */
  words?: string
  /** The `after` of the page before. */
  after?: string | null
  /** How many at most. Default: 30. */
  limit?: number
}

/** The `error` of a refusal, as the server sends it. */
export interface ErrorFields {
  message: string
  type?: string | null
  param?: string | null
  code?: string | null
}

/** A refusal by the server or by a proxy, or a server that could not be reached (`status` 0). */
export class TickertapeError extends Error {
  constructor(fields: ErrorFields, status?: number, retryAfterMs?: number)
  readonly name: 'TickertapeError'
  /** The HTTP status, or 0 if there was no answer. */
  readonly status: number
  readonly type: string | null
  /** The field of the body that was refused. */
  readonly param: string | null
  readonly code: string | null
  /** How long the server asks to wait, in ms; 0 if it does not say. */
  readonly retryAfterMs: number
  /** Whether nobody answered, or a proxy did that has lost its server: what became of the call is then unknown. */
  get isUnanswered(): boolean
}

/** Submit a request. All tries of one call carry one idempotency key, so a lost reply is never a second question. */
export function submit(body: ChatBody, options?: SubmitOptions): Promise<SubmittedView>

/** Stop a request, whoever asked and wherever it runs; its text so far is kept. */
export function cancel(requestId: string, options?: CallOptions): Promise<CancelView>

/** The role templates to choose from. */
export function listRoles(options?: CallOptions): Promise<RoleSummary[]>

/** What the server remembers of a conversation: all turns, or a page of them. */
export function readConversation(conversationId: string, options?: TurnsOptions): Promise<ConversationView>

/** A page of the conversations. A page may be short or empty although another one follows. */
export function listConversations(options?: ListOptions): Promise<ConversationList>

/** Give a conversation a title that no other one replaces. */
export function renameConversation(
  conversationId: string, title: string, options?: CallOptions,
): Promise<ConversationSummary>

/** Erase a conversation for everyone. One that is not there counts as erased. */
export function eraseConversation(conversationId: string, options?: CallOptions): Promise<void>

/** Erase one turn for everyone; turns that followed it stay. One that is not there counts as erased. */
export function eraseTurn(conversationId: string, requestId: string, options?: CallOptions): Promise<void>

/** A ticket for a conversation, which a client without a key gives as its `apiKey`. */
export function issueTicket(conversationId: string, options?: TicketOptions): Promise<Ticket>

/** Revoke all tickets of a conversation that were issued until now. */
export function revokeTickets(conversationId: string, options?: CallOptions): Promise<void>

/** 128 random bits in hex, as an idempotency key or as the id of a conversation. */
export function newId(): string

/** The random wait before the next try, in ms, after this number of failures. */
export function backoffMs(failures: number, random?: () => number): number

/** The error for a server that could not be reached. */
export function unreachable(): TickertapeError

/** The error behind a response that is not what was asked for. */
export function errorOf(response: Response): Promise<TickertapeError>

/** The header that carries a key or a ticket; no header without one. */
export function authorization(apiKey?: string): { Authorization?: string }

/** Throws a TypeError if these options name nothing to follow. */
export function requireTarget(options: { requestId?: string, conversationId?: string, url?: string }): void

/** Throws a TypeError if this address names no server and there is no page whose server it could mean. */
export function requireServer(
  url: string,
  options: { fetch?: typeof globalThis.fetch, EventSource?: typeof globalThis.EventSource },
): void
