import type { TickertapeError } from './calls.js'
import type { ConversationState, Known, RequestState } from './fold.js'

export {
  cancel, eraseConversation, eraseTurn, issueTicket, listConversations, listRoles, newId, readConversation,
  renameConversation, revokeTickets, submit, TickertapeError,
} from './calls.js'
export type { CallOptions, ListOptions, SubmitOptions, Ticket, TicketOptions } from './calls.js'
export type * from './bodies.js'
export { fold, isOver, newConversation, newRequest } from './fold.js'
export type {
  ConversationState, EventKind, Known, RequestState, RequestStatus, StreamEvent, ToolCall,
} from './fold.js'

/** `paused`: the tab is hidden. `closed`: the follower reads no more; `error` says why, null at an end in order. */
export interface Connection {
  status: 'connecting' | 'open' | 'reconnecting' | 'paused' | 'closed'
  error: TickertapeError | null
}

export interface FollowOptions<State> {
  /** The server, as `https://tickertape.example`. Without it, the server of the page; outside of a page it is required. */
  baseUrl?: string
  /** Sent as `Authorization: Bearer`. The stream is then read with fetch, because EventSource cannot send a key. */
  apiKey?: string
  /** The address of the stream, if it is not the usual one. */
  url?: string
  /** An earlier state, from whose cursor to go on. */
  state?: State
  /** A cursor to start behind. */
  after?: string
  /** Called after each event and each change of the connection. */
  onState?: (state: State, connection: Connection) => void
  fetch?: typeof globalThis.fetch
  EventSource?: typeof globalThis.EventSource
}

export interface FollowRequest extends FollowOptions<RequestState> {
  requestId: string
  conversationId?: undefined
}

export interface FollowConversation extends FollowOptions<ConversationState> {
  conversationId: string
  requestId?: undefined
}

/** A reader of one request, or of one conversation. Closing it stops nothing; `cancel` does. */
export interface Follower<State extends RequestState | ConversationState> {
  /** The fold so far. */
  readonly state: State
  readonly connection: Connection
  /** The last state, once the follower reads no more; rejects with the TickertapeError that closed it. */
  readonly closed: Promise<State>
  /** Drop the connection and make it again at once, behind the last event. */
  reconnect(): void
  /** Read no more. The request goes on. */
  close(error?: TickertapeError | null): void
}

export interface ConversationFollower extends Follower<ConversationState> {
  /** Show a request of this conversation before the stream comes to it. */
  expect(requestId: string, known?: Known): void
  /** Keep more `known` of a request of this conversation. A replay forgets this. */
  mark(requestId: string, known: Known): void
}

/** Follow a request to its end. */
export function follow(options: FollowRequest): Follower<RequestState>
/** Follow all requests of a conversation, also those to come, until the follower is closed. */
export function follow(options: FollowConversation): ConversationFollower
