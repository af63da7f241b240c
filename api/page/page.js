/** The page: one conversation, named in the address, that everyone with the link reads and may add to. */

import { newAnnouncer } from './announcer.js'
import { newAttachmentList } from './attachment_list.js'
import { watchFiles } from './attachment_ways.js'
import { contentOf } from './attachments.js'
import { newBranchView } from './branch_view.js'
import { choicesOf, fieldsOf } from './choices.js'
import { authorization } from './client/v1/calls.js'
import { cancel, eraseTurn, listRoles, newId, submit } from './client/v1/client.js'
import { followShared } from './client/v1/shared.js'
import { completionsOf } from './command_line.js'
import { newCommands } from './commands.js'
import { newComposer } from './composer.js'
import { newDoor, readKey, readTicket } from './door.js'
import { newElsewhere, requestToStop } from './elsewhere.js'
import { readHeld } from './held_turns.js'
import { keptOf, newKept, storageOf } from './kept.js'
import { choicesOfLink } from './link_choices.js'
import { messagesToSend } from './own_roles.js'
import { newPacer } from './pacer.js'
import { newPageHead } from './page_head.js'
import { newPicker } from './picker.js'
import { newScroll } from './scroll.js'
import { newShare } from './share.js'
import { newSidebar } from './sidebar.js'
import { watchKeys } from './stop_keys.js'
import { newTranscript } from './transcript.js'
import { newTurnCommands } from './turn_commands.js'
import { activeRequest, questionOf, wordsForPage } from './words.js'

const find = (id) => document.getElementById(id)
const [stopButton, statusLine] = [find('stop'), find('status')]
const isKnown = new URL(location.href).searchParams.has('c')
const conversationId = conversationOfAddress()
const baseUrl = new URL('.', location.href).href.replace(/\/$/, '')
// The page of a read-only link shows the conversation, and offers nothing that its ticket does not allow.
const isReadOnly = Boolean(readTicket())
document.body.classList.toggle('read-only', isReadOnly)
const options = () => ({ baseUrl, apiKey: readKey() })

let follower
let summary = null
let titleShown
let draft = { body: null, key: null }
const scroll = newScroll(find('feed'), find('latest'))
const kept = newKept()
const keptHere = keptOf(conversationId, kept)
const server = { roles: [], models: [] }
const ownRoles = () => kept.get('roles') ?? []
const branch = newBranchView(keptHere, () => follower?.state.requests ?? [])
const announce = (words) => announcer.say(words)
const focusFeed = () => find('feed').focus({ preventScroll: true })
const commands = newTurnCommands({
  branch, transcript: () => transcript, send, erase, draw, announce, showProblem, keepText: (text) => composer.add(text),
})
const run = newCommands({
  requests: branch.path, roles: () => server.roles, ownRoles, keepRole, models: readModels,
  choose: (choices) => composer.choose(choices),
  clear: () => transcript.clear(),
  print(element) {
    transcript.print(element)
    scroll.toEnd()
  },
  ask: (message, chosen) => askWithFiles({ message, ...withOwn({ ...choicesNow(), ...keptHere.get('choices'), ...chosen }) }),
})
const picker = newPicker({ button: find('picker-button'), popover: find('picker') }, (choice) => composer.choose(choice), {
  onOpen: () => readModels().catch(() => {}), // the models known before stay
})
const composer = newComposer(find('composer'), {
  onChoices: (choices) => picker.show(choices, usedModel()),
  onSend: askWithFiles, resize: scroll.hold, kept: keptHere, hasFiles: () => !attachments.isEmpty(),
  async onCommand(command) {
    await run(command)
    drawSoon()
  },
  questions: () => branch.path().map(questionOf).filter(Boolean),
  completionsOf: (text) => completionsOf(text, { ...server, roles: [...server.roles, ...ownRoles()] }),
})
const transcript = newTranscript(find('requests'), {
  stop, askAgain: (request) => composer.write(questionOf(request)), commands,
})
const announcer = newAnnouncer(find('announcer'))
const elsewhere = newElsewhere(find('elsewhere'), {
  announce,
  goTo(requestId) {
    branch.goTo(requestId)
    draw()
    scroll.toEnd()
  },
})
const attachments = newAttachmentList(find('attachments'), {
  onProblem: composer.showProblem, focus: composer.focus,
  onChange(words) {
    if (words) announcer.say(words)
    scroll.follow()
  },
})
const head = newPageHead({ title: find('title'), watchers: find('watchers'), said: find('said') })
const sidebar = newSidebar(find('sidebar'), {
  conversationId, options, toggle: find('sidebar-toggle'), behind: ['header', 'feed', 'footer'].map(find), kept,
  snapshot: newKept(storageOf('sessionStorage')), onList: ({ conversations }) => {
    const { title } = conversations.find((one) => one.conversation_id === conversationId) ?? summary ?? {}
    if (title) head.titleIs(title)
  },
})
newShare({ button: find('share'), menu: find('share-menu'), said: find('said') }, () => ({
  conversationId, title: head.title ?? 'Conversation', requests: follower.state.requests, visible: branch.path(),
}), { options, canIssue: () => Boolean(readKey()) && !isReadOnly })
const door = newDoor(find('door'), () => {
  composer.showProblem(null)
  connect()
})

const pacer = newPacer(draw)
const drawSoon = pacer.ask
let turnsDrawn = 0
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
  follower = followShared({
    ...options(), conversationId, state: follower?.state, onState: (state, { error }) => {
      if (error?.status === 401) askForKey()
      if (document.hidden) showHead(state) // a hidden page has no animation frames
      if (state.requests.length > turnsDrawn) pacer.askNow()
      else drawSoon()
    },
  })
  if (!isReadOnly) {
    sidebar.refresh()
    listRoles(options()).then(showRoles, showProblem)
    readModels().catch(() => {}) // Tab then completes no models
  }
  if (isKnown) readHeld(conversationId, options()).then(showHeld, () => {}) // it may have expired
}

function askForKey() {
  if (isReadOnly) composer.showProblem({ message: 'This link was stopped, or its week is over.' })
  else door.ask()
}

function showRoles(roles) {
  server.roles = roles
  composer.setRoles(roles, ownRoles())
}

function keepRole(role) {
  kept.set('roles', [...ownRoles().filter(({ name }) => name !== role.name), role])
  composer.setRoles(server.roles, ownRoles())
}

/** The models that the server names; the roles are in the same list, and are chosen as roles. */
async function readModels() {
  const answer = await fetch(`${baseUrl}/v1/models`, { headers: authorization(options().apiKey) })
  if (!answer.ok) throw new Error('The server did not list its models.')
  const { data } = await answer.json()
  server.models = data.filter(({ id }) => !id.startsWith('role:')).map(({ id }) => ({ name: id, description: '' }))
  picker.setModels(server.models)
  return server.models
}

const choicesNow = () => choicesOf(branch.path(), summary ?? (branch.path().length === 0 ? choicesOfLink(location.href) : null))

/** The model of the latest answer. */
function usedModel() {
  return follower ? branch.path().findLast(({ model }) => model)?.model ?? null : null
}

/** A role of one's own is known by its name in this browser only. */
const withOwn = (choices) => ({ ...choices, own: ownRoles().find(({ name }) => `own:${name}` === choices.role) ?? null })

/** The questions that wait behind the active one: the stream comes to them later. */
function showHeld({ summary: held, waiting }) {
  summary = held
  if (follower.state.title === undefined) head.titleIs(held.title)
  for (const turn of waiting) follower.expect(turn.request_id, { messages: turn.asked, parentId: turn.parent_id })
}

/** The server knows more of a conversation when an answer begins or ends. */
function showHead(state) {
  head.show(state)
  sidebar.show(activeRequest(state.requests)?.requestId ?? null)
  if (state.title === titleShown) return
  titleShown = state.title
  head.titleIs(titleShown)
  if (!isReadOnly) sidebar.refresh()
}

function draw() {
  const { state, connection } = follower
  const requests = branch.path()
  const focused = document.activeElement
  turnsDrawn = state.requests.length
  showHead(state)
  transcript.show(requests, branch.siblings())
  announcer.show(requests)
  announcer.showConnection(connection)
  find('welcome').hidden = requests.length > 0 || !transcript.isEmpty()
  elsewhere.show(requests, branch.all())
  stopButton.hidden = !requestToStop(requests, branch.all())
  const words = wordsForPage({ requests }, connection, Date.now())
  if (statusLine.textContent !== words) statusLine.textContent = words
  statusLine.dataset.connection = connection.status
  clearTimeout(countdown)
  if (requests.some(({ waiting }) => waiting)) countdown = setTimeout(drawSoon, 1_000)
  composer.showChoices(choicesNow())
  scroll.follow()
  // A button or a turn that disappears under the focus would leave the keyboard nowhere.
  const isLost = focused !== document.body && (!focused?.isConnected || focused.closest('[hidden]'))
  if (isLost && [focused, document.body].includes(document.activeElement)) focusFeed()
}

function showProblem(error) {
  if (error?.status === 401) askForKey()
  composer.showProblem(error)
}

/** The same words again go under the same idempotency key until the server has answered, so they are one question. */
function keyFor(body) {
  if (draft.body !== body) draft = { body, key: newId() }
  return draft.key
}

async function askWithFiles(question) {
  const files = await attachments.read()
  await ask({ ...question, parts: files.map(({ part }) => part) })
  attachments.remove(files)
}

async function ask({ message, parts = [], own, ...choices }) {
  const content = contentOf(message, parts)
  const asked = own ? messagesToSend(own, content, branch.path()) : [{ role: 'user', content }]
  const { role, variables, model, temperature } = own ? { ...choices, role: null } : choices
  const question = own || parts.length > 0 ? { messages: asked } : { message }
  const fields = { ...question, parent_id: branch.parent(), ...fieldsOf({ role, variables, model, temperature }) }
  await send(fields, { messages: asked, role, chosen: { variables, model, temperature } })
}

/** Submit, and show the question of which this much is `known` before the stream comes to it. */
async function send(fields, known) {
  const body = { ...fields, conversation_id: conversationId }
  const onRetry = () => composer.showProblem({ message: 'The server could not be reached. Trying again…' })
  const idempotencyKey = keyFor(JSON.stringify(body))
  try {
    const { request_id: requestId } = await submit(body, { ...options(), idempotencyKey, onRetry })
    draft = { body: null, key: null }
    scroll.toEnd()
    follower.expect(requestId, { ...known, parentId: body.parent_id })
    branch.goTo(requestId)
  } catch (error) {
    if (error.status === 401) askForKey()
    throw error
  }
}

async function erase(requestId) {
  await eraseTurn(conversationId, requestId, options())
  // While an answer is written, the stream says so only at its end.
  follower.mark(requestId, { isErased: true })
}

async function stop({ requestId }) {
  follower.mark(requestId, { isStopping: true })
  try {
    const { status } = await cancel(requestId, options())
    // Of one that only waits, the stream will say so when its turn comes; of any other, any moment now.
    follower.expect(requestId, { status })
  } catch (error) {
    follower.mark(requestId, { isStopping: false })
    showProblem(error)
  }
}

function stopActive() {
  const active = requestToStop(branch.path(), branch.all())
  if (active) stop(active)
  return Boolean(active)
}

stopButton.addEventListener('click', stopActive)
watchKeys(stopActive)
watchFiles({ button: find('attach'), chooser: find('files'), shade: find('drop'), box: find('message') }, attachments.add)
addEventListener('beforeunload', (event) => {
  if (!attachments.isEmpty()) event.preventDefault() // the browser asks: a reload would lose the attachments
})
find('requests').addEventListener('drawn', scroll.follow)
find('latest').addEventListener('click', () => {
  scroll.toEnd()
  composer.focus()
})

connect()
if (matchMedia('(pointer: fine)').matches && !isReadOnly) composer.focus()
