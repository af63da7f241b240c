/** The API's calls that answer once: ask, stop, list the roles, keep the conversations; and what a refused or lost call looks like. */

const FIRST_DELAY_MS = 1_000
const LONGEST_DELAY_MS = 30_000

/** A refusal by the server or by a proxy, with the fields of the wire's error; `status` 0: there was no answer. */
export class TickertapeError extends Error {
  constructor({ message, type = null, param = null, code = null }, status = 0, retryAfterMs = 0) {
    super(message)
    Object.assign(this, { name: 'TickertapeError', status, type, param, code, retryAfterMs })
  }

  /** Whether nobody answered, or a proxy did that has lost its server: what became of the call is then unknown. */
  get isUnanswered() {
    return this.status === 0 || ([502, 503, 504].includes(this.status) && this.type === null)
  }
}

export const unreachable = () => new TickertapeError({ message: 'The server could not be reached.' })

/** The TickertapeError behind a response that is not what was asked for. */
export async function errorOf(response) {
  const body = await response.json().catch(() => null)
  const retryAfterMs = 1_000 * (Number.parseInt(response.headers.get('Retry-After'), 10) || 0)
  const error = body?.error?.message ? body.error : { message: `The server answered ${response.status}.` }
  return new TickertapeError(error, response.status, retryAfterMs)
}

const TICKET = 'tk1_'

/** The header of a key or a ticket; a ticket is recognized by how it begins. */
export const authorization = (apiKey) => (apiKey ? { Authorization: `${apiKey.startsWith(TICKET) ? 'Ticket' : 'Bearer'} ${apiKey}` } : {})

/** Throws where an address without a server can only fail: outside of a page, unless a `fetch` of the caller's knows it. */
export function requireServer(url, { fetch, EventSource }) {
  if (fetch || EventSource || globalThis.location || URL.canParse(url)) return
  throw new TypeError(`${url} names no server: give baseUrl, as in { baseUrl: 'http://127.0.0.1:8000' }`)
}

/** Throws where a follower gets nothing to follow. */
export function requireTarget({ requestId, conversationId, url }) {
  if (!requestId && !conversationId && !url) throw new TypeError('Nothing to follow: give requestId or conversationId')
}

/** 128 random bits in hex. `crypto.randomUUID` is missing on plain http, as on a phone in the same network. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** The random wait before the next try, in ms. It spreads the reconnections of all clients after a server fails. */
export function backoffMs(failures, random = Math.random) {
  return random() * Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures)
}

/**
 * Ask. `body` is that of `POST /chat` (`message`, `role`, `conversation_id`, ...); resolves to `{request_id, ...}`. All
 * tries carry one idempotency key, so a lost answer is never a second question; give the key to repeat a call later.
 *
 * Options of every call here: `baseUrl` (this page's server if not given), `apiKey`, `signal`, `fetch`, and `tries` and
 * `onRetry(error)` for calls that stay unanswered. They reject with a TickertapeError, or with what aborted `signal`.
 */
export function submit(body, { idempotencyKey = newId(), ...options } = {}) {
  const headers = { 'Idempotency-Key': idempotencyKey }
  return call('/chat', { method: 'POST', headers, body: JSON.stringify(body) }, options)
}

/** Stop a request, whoever asked and wherever it runs; its text so far is kept. Resolves to `{request_id, status}`. */
export function cancel(requestId, options) {
  return call(`/chat/${encodeURIComponent(requestId)}/cancel`, { method: 'POST' }, options)
}

/** The role templates to choose from: `[{name, description, ...}]`. */
export async function listRoles(options) {
  const { roles } = await call('/roles', {}, options)
  return roles
}

/**
 * What the server remembers of a conversation: `{conversation_id, turns, active_request_id, ...}`, with all turns or with
 * the newest `limit`. `before` of a page asks for the page in front of it, and is null at the start.
 */
export function readConversation(conversationId, { limit = null, before = null, ...options } = {}) {
  const query = String(new URLSearchParams({ ...(limit !== null && { limit }), ...(before !== null && { before }) }))
  return call(conversationPath(conversationId) + (query && `?${query}`), {}, options)
}

/**
 * A page of the conversations, the one with the latest request first: `{conversations, after}`. `after` asks for the next
 * page and is null at the end; `words` finds titles. A page may be short or empty although another one follows.
 */
export function listConversations({ words = '', after = null, limit = 30, ...options } = {}) {
  const query = new URLSearchParams({ limit, ...(words && { q: words }), ...(after && { after }) })
  return call(`/conversations?${query}`, {}, options)
}

/** Give a conversation a title that no other one replaces. Resolves to the conversation as the list has it. */
export function renameConversation(conversationId, title, options) {
  return call(conversationPath(conversationId), { method: 'PATCH', body: JSON.stringify({ title }) }, options)
}

/** Erase a conversation with all its questions and answers, for everyone. One that is not there counts as erased. */
export async function eraseConversation(conversationId, options) {
  try {
    await call(conversationPath(conversationId), { method: 'DELETE' }, options)
  } catch (error) {
    // The reply to the first try was lost, or somebody else was faster.
    if (error.status !== 404) throw error
  }
}

/** Erase one turn of a conversation, for everyone; those that followed it stay. One that is not there counts as erased. */
export async function eraseTurn(conversationId, requestId, options) {
  try {
    await call(`${conversationPath(conversationId)}/turns/${encodeURIComponent(requestId)}`, { method: 'DELETE' }, options)
  } catch (error) {
    if (error.status !== 404) throw error // the reply to the first try was lost, or somebody else was faster
  }
}

/**
 * A ticket for a conversation: `{ticket, expires_ms, ends_ms}`. `rights` is `read`, `write` or `cancel`. Clients without a
 * key give the ticket as their `apiKey`, or an EventSource gives it as `?ticket=` of the stream's address.
 */
export function issueTicket(conversationId, { rights = 'read', ttlS = 300, ...options } = {}) {
  const body = JSON.stringify({ rights, ttl_s: ttlS })
  return call(`${conversationPath(conversationId)}/ticket`, { method: 'POST', body }, options)
}

/** Revoke all tickets of a conversation that were issued until now. Their streams end within 5 seconds. */
export function revokeTickets(conversationId, options) {
  return call(`${conversationPath(conversationId)}/tickets/revoke`, { method: 'POST' }, options)
}

const conversationPath = (conversationId) => `/conversations/${encodeURIComponent(conversationId)}`

/** The JSON of a call that is safe to repeat; null for an answer without a body. */
async function call(path, init, options = {}) {
  const { baseUrl = '', apiKey, fetch = globalThis.fetch, signal, tries = 6, onRetry = () => {} } = options
  requireServer(baseUrl + path, options)
  const headers = { 'Content-Type': 'application/json', ...init.headers, ...authorization(apiKey) }
  for (let failures = 1; ; failures += 1) {
    const { answer, error } = await callOnce(fetch, baseUrl + path, { ...init, headers, signal })
    if (!error) return answer
    signal?.throwIfAborted()
    if (!error.isUnanswered || failures >= tries) throw error
    onRetry(error)
    await new Promise((resolve) => { setTimeout(resolve, backoffMs(failures)) })
  }
}

async function callOnce(fetch, url, init) {
  try {
    const response = await fetch(url, init)
    if (!response.ok) return { error: await errorOf(response) }
    return { answer: response.status === 204 ? null : await response.json() }
  } catch {
    return { error: unreachable() }
  }
}
