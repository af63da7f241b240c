/** The page: one conversation, named in the address, that everyone with the link reads and may add to. */

import { cancel, follow, listRoles, newId, readConversation, submit } from './client.js'
import { newRequestView } from './view.js'
import { activeRequest, questionOf, wordsForError, wordsForPage } from './words.js'

const KEY = 'tickertape-api-key'
/** Nearer to the end than this, in px, a reader wants to see what comes. */
const NEAR = 48

const find = (id) => document.getElementById(id)
const [feed, list, box, roles, send] = [find('feed'), find('requests'), find('message'), find('role'), find('send')]
const [stopButton, problem, statusLine, latest] = [find('stop'), find('problem'), find('status'), find('latest')]
const views = new Map()
const isKnown = new URL(location.href).searchParams.has('c')
const conversationId = conversationOfAddress()
const baseUrl = new URL('.', location.href).href.replace(/\/$/, '')

let follower
let draft = { body: null, key: null }
let isAtEnd = true
let isDrawing = false
let countdown

function conversationOfAddress() {
  const address = new URL(location.href)
  const known = address.searchParams.get('c')
  if (known) return known
  address.searchParams.set('c', newId())
  history.replaceState(null, '', address)
  return address.searchParams.get('c')
}

const options = () => ({ baseUrl, apiKey: sessionStorage.getItem(KEY) })

function connect() {
  follower?.close()
  follower = follow({
    ...options(), conversationId, state: follower?.state, onState: (_, { error }) => {
      if (error?.status === 401) askKey()
      drawSoon()
    },
  })
  listRoles(options()).then(showRoles, showProblem)
  if (isKnown) readConversation(conversationId, options()).then(showHeld, () => {}) // it may have expired
}

/** The questions that wait behind the active one: the stream comes to them later. */
function showHeld({ turns, active_request_id: active }) {
  const at = turns.findIndex((turn) => turn.request_id === active)
  for (const turn of at < 0 ? [] : turns.slice(at + 1)) follower.expect(turn.request_id, { messages: turn.asked })
}

function showRoles(known) {
  const chosen = roles.value
  roles.replaceChildren(new Option('No role', ''), ...known.map(({ name, description }) => {
    const option = new Option(name, name)
    option.title = description ?? ''
    return option
  }))
  roles.value = known.some(({ name }) => name === chosen) ? chosen : ''
}

function drawSoon() {
  if (isDrawing) return
  isDrawing = true
  requestAnimationFrame(() => {
    isDrawing = false
    draw()
  })
}

function draw() {
  const { state: { requests }, state, connection } = follower
  drawRequests(requests)
  const active = activeRequest(requests)
  find('welcome').hidden = requests.length > 0
  stopButton.hidden = !active
  const words = wordsForPage(state, connection, Date.now())
  if (statusLine.textContent !== words) statusLine.textContent = words
  statusLine.dataset.connection = connection.status
  clearTimeout(countdown)
  if (requests.some(({ waiting }) => waiting)) countdown = setTimeout(drawSoon, 1_000)
  if (isAtEnd) toEnd()
}

function drawRequests(requests) {
  const ids = new Set(requests.map(({ requestId }) => requestId))
  for (const [id, view] of views) {
    if (ids.has(id)) continue
    view.element.remove()
    views.delete(id)
  }
  requests.forEach((request, at) => {
    const view = views.get(request.requestId) ?? newRequestView({ stop, askAgain })
    views.set(request.requestId, view)
    if (list.children[at] !== view.element) list.insertBefore(view.element, list.children[at] ?? null)
    if (view.shown !== request || request.waiting) view.show(request)
    view.shown = request
  })
}

function toEnd() {
  feed.scrollTop = feed.scrollHeight
}

/** The same words again go under the same idempotency key until the server has answered, so they are one question. */
function keyFor(body) {
  if (draft.body !== body) draft = { body, key: newId() }
  return draft.key
}

async function ask(message, role) {
  const body = { message, conversation_id: conversationId, ...(role && { role }) }
  const onRetry = () => showProblem({ message: 'The server could not be reached. Trying again…' })
  const idempotencyKey = keyFor(JSON.stringify(body))
  const { request_id: requestId } = await submit(body, { ...options(), idempotencyKey, onRetry })
  draft = { body: null, key: null }
  isAtEnd = true
  follower.expect(requestId, { messages: [{ role: 'user', content: message }], role: role || null })
}

async function sendBox() {
  if (box.readOnly || box.value.trim() === '') return
  box.readOnly = true
  send.disabled = true
  showProblem(null)
  try {
    await ask(box.value, roles.value)
    box.value = ''
    showProblem(null)
  } catch (error) {
    showProblem(error)
  } finally {
    box.readOnly = false
    send.disabled = false
    fitBox()
  }
}

async function stop({ requestId }) {
  try {
    const { status } = await cancel(requestId, options())
    // Of one that only waits, the stream will say so when its turn comes; of any other, any moment now.
    follower.expect(requestId, { status })
  } catch (error) {
    showProblem(error)
  }
}

function askAgain(request) {
  box.value = questionOf(request)
  fitBox()
  box.focus()
}

function showProblem(error) {
  if (error?.status === 401) askKey()
  problem.hidden = !error || error.status === 401
  problem.textContent = error ? wordsForError(error) : ''
  box.setAttribute('aria-invalid', String(error?.param === 'message'))
  roles.setAttribute('aria-invalid', String(error?.param === 'role'))
}

function askKey() {
  if (find('door').open) return
  find('refused').hidden = !sessionStorage.getItem(KEY)
  find('door').showModal()
}

function fitBox() {
  box.style.height = 'auto'
  box.style.height = `${box.scrollHeight}px`
  if (isAtEnd) toEnd()
}

async function copyLink() {
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false)
  find('copy').textContent = copied ? 'Copied' : 'Copy it from the address bar'
  setTimeout(() => { find('copy').textContent = 'Copy link' }, 2_000)
}

box.addEventListener('input', fitBox)
box.addEventListener('keydown', (event) => {
  // While an input method composes, Enter takes its suggestion (keyCode 229 where isComposing comes too late).
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
  event.preventDefault()
  sendBox()
})
find('composer').addEventListener('submit', (event) => {
  event.preventDefault()
  sendBox()
})
stopButton.addEventListener('click', () => {
  const active = activeRequest(follower.state.requests)
  if (active) stop(active)
})
find('copy').addEventListener('click', copyLink)
find('door').addEventListener('close', () => {
  if (find('key').value === '') return
  sessionStorage.setItem(KEY, find('key').value)
  find('key').value = ''
  showProblem(null)
  connect()
})
feed.addEventListener('scroll', () => {
  isAtEnd = feed.scrollHeight - feed.scrollTop - feed.clientHeight < NEAR
  latest.hidden = isAtEnd
})
latest.addEventListener('click', () => {
  toEnd()
  box.focus()
})
new ResizeObserver(() => { if (isAtEnd) toEnd() }).observe(feed)

connect()
if (matchMedia('(pointer: fine)').matches) box.focus()
