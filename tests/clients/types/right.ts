// What a user may write: it compiles.
import {
  cancel, eraseConversation, eraseTurn, fold, follow, isOver, issueTicket, listConversations, listRoles, newConversation, newId, newRequest,
  readConversation, renameConversation, revokeTickets, submit, TickertapeError,
} from 'tickertape-client'
import type { ChatBody, Connection, ConversationState, Follower, RequestState, StreamEvent } from 'tickertape-client'
import { authorization, backoffMs, errorOf } from 'tickertape-client/calls.js'
import { expectRequest, HEARTBEAT, KINDS, markRequest } from 'tickertape-client/fold.js'
import { followShared } from 'tickertape-client/shared.js'
import { eventStreamDecoder, readWithEventSource, readWithFetch } from 'tickertape-client/streams.js'

const body: ChatBody = { message: 'Hi', variables: { LEVEL: 'a nurse' }, on_busy: 'replace', parent_id: null }
const { request_id } = await submit(body, { baseUrl: 'http://server', idempotencyKey: newId(), tries: 3 })
const follower: Follower<RequestState> = follow({
  requestId: request_id,
  onState: (state, { status, error }) => console.log(state.text.length, status === 'paused', error?.status),
})
const { text, usage, error }: RequestState = await follower.closed
console.log(text.length, usage?.total_tokens, error?.retryable)

const conversation = follow({ conversationId: 'c', apiKey: 'k', onState: ({ requests, watchers }) => {
  console.log(requests.at(-1)?.parentId, watchers.toFixed())
} })
conversation.expect(request_id, { messages: [{ role: 'user', content: 'Hi' }] })
conversation.mark(request_id, { isStopping: true })
const connection: Connection = conversation.connection
console.log(connection.status)
conversation.close()
followShared({ conversationId: 'c', apiKey: 'k' }).expect(request_id)
follow({ requestId: 'r', state: newRequest('r'), after: '1-1', fetch, EventSource, url: '/s' }).reconnect()

const event: StreamEvent = { kind: 'delta', id: '1-1', data: { text: 'a' } }
const one: RequestState = fold(newRequest('r'), event)
const all: ConversationState = fold(newConversation('c'), event)
console.log(isOver(one), expectRequest(all, 'r').requests, markRequest(all, 'r', { text: '' }).cursor, KINDS.length, HEARTBEAT)

const stopped: string = (await cancel(request_id)).status
const names: string[] = (await listRoles()).map(({ name }) => name)
const page = await listConversations({ words: 'sky', after: null, limit: 5 })
const title: string | null = (await renameConversation(page.conversations[0]!.conversation_id, 'New')).title
const answers = (await readConversation('c')).turns.map(({ answered }) => answered?.length)
const shared: string = (await issueTicket('c', { rights: 'read', ttlS: 60 })).ticket
await revokeTickets('c', { apiKey: shared })
await eraseConversation('c', { signal: AbortSignal.timeout(1) })
await eraseTurn('c', 'r', { signal: AbortSignal.timeout(1) })
console.log(stopped, names, title, answers, authorization('k').Authorization, backoffMs(1).toFixed())

try {
  throw await errorOf(new Response('{}', { status: 429 }))
} catch (problem) {
  if (problem instanceof TickertapeError) console.log(problem.code, problem.isUnanswered, problem.retryAfterMs)
}
const options = { fetch, signal: AbortSignal.timeout(1), onOpen: () => {}, onEvent: ({ kind }: StreamEvent) => console.log(kind) }
const ended: number[] = [
  (await readWithFetch('/s', { ...options, apiKey: 'k' })).status,
  (await readWithEventSource('/s', { ...options, EventSource })).status,
]
eventStreamDecoder(({ kind, data }) => console.log(kind, JSON.parse(data), ended))('event: delta\n')
