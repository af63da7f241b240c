/** The page: one conversation, named in the address, that everyone with the link reads and may add to. */

import { newAnnouncer } from './announcer.js'
import { cancel, follow, listRoles, newId, readConversation, submit } from './client/v1/client.js'
import { newComposer } from './composer.js'
import { newDoor, readKey } from './door.js'
import { newScroll } from './scroll.js'
import { newTranscript } from './transcript.js'
import { activeRequest, questionOf, wordsForPage } from './words.js'

const find = (id) => document.getElementById(id)
const [stopButton, statusLine] = [find('stop'), find('status')]
const isKnown = new URL(location.href).searchParams.has('c')
const conversationId = conversationOfAddress()
const baseUrl = new URL('.', location.href).href.replace(/\/$/, '')
const options = () => ({ baseUrl, apiKey: readKey() })

const scroll = newScroll(find('feed'), find('latest'))
const composer = newComposer(find('composer'), { onSend: ask, onResize: scroll.follow })
const transcript = newTranscript(find('requests'), { stop, askAgain: (request) => composer.write(questionOf(request)) })
const announcer = newAnnouncer(find('announcer'))
const door = newDoor(find('door'), () => {
  composer.showProblem(null)
  connect()
})

let follower
let draft = { body: null, key: null }
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

function connect() {
  follower?.close()
  follower = follow({
    ...options(), conversationId, state: follower?.state, onState: (_, { error }) => {
      if (error?.status === 401) door.ask()
      drawSoon()
    },
  })
  listRoles(options()).then(composer.showRoles, showProblem)
  if (isKnown) readConversation(conversationId, options()).then(showHeld, () => {}) // it may have expired
}

/** The questions that wait behind the active one: the stream comes to them later. */
function showHeld({ turns, active_request_id: active }) {
  const at = turns.findIndex((turn) => turn.request_id === active)
  for (const turn of at < 0 ? [] : turns.slice(at + 1)) follower.expect(turn.request_id, { messages: turn.asked })
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
  transcript.show(requests)
  announcer.show(requests)
  find('welcome').hidden = requests.length > 0
  stopButton.hidden = !activeRequest(requests)
  const words = wordsForPage(state, connection, Date.now())
  if (statusLine.textContent !== words) statusLine.textContent = words
  statusLine.dataset.connection = connection.status
  clearTimeout(countdown)
  if (requests.some(({ waiting }) => waiting)) countdown = setTimeout(drawSoon, 1_000)
  scroll.follow()
}

function showProblem(error) {
  if (error?.status === 401) door.ask()
  composer.showProblem(error)
}

/** The same words again go under the same idempotency key until the server has answered, so they are one question. */
function keyFor(body) {
  if (draft.body !== body) draft = { body, key: newId() }
  return draft.key
}

async function ask({ message, role }) {
  const body = { message, conversation_id: conversationId, ...(role && { role }) }
  const onRetry = () => composer.showProblem({ message: 'The server could not be reached. Trying again…' })
  const idempotencyKey = keyFor(JSON.stringify(body))
  try {
    const { request_id: requestId } = await submit(body, { ...options(), idempotencyKey, onRetry })
    draft = { body: null, key: null }
    scroll.toEnd()
    follower.expect(requestId, { messages: [{ role: 'user', content: message }], role: role || null })
  } catch (error) {
    if (error.status === 401) door.ask()
    throw error
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

async function copyLink() {
  const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false)
  find('copy').textContent = copied ? 'Copied' : 'Copy it from the address bar'
  setTimeout(() => { find('copy').textContent = 'Copy link' }, 2_000)
}

stopButton.addEventListener('click', () => {
  const active = activeRequest(follower.state.requests)
  if (active) stop(active)
})
find('copy').addEventListener('click', copyLink)
find('latest').addEventListener('click', () => {
  scroll.toEnd()
  composer.focus()
})

connect()
if (matchMedia('(pointer: fine)').matches) composer.focus()
