/** The list of conversations beside the conversation: find one, go to it, rename it, erase it. */

import { eraseConversation, listConversations, renameConversation } from './client/v1/client.js'
import { EMPTY_LIST, withoutConversation, withTitle, wordsForList } from './conversation_list.js'
import { newConversationPages } from './conversation_pages.js'
import { keptOf } from './kept.js'
import { newSidebarDrawer } from './sidebar_drawer.js'
import { newSidebarList } from './sidebar_list.js'
import { wordsForError } from './words.js'

const TYPING_MS = 200
const REFRESH_MS = 300
/** While an answer runs in another conversation and the list can be seen, it is read this often. */
const RUNNING_MS = 10_000
/** A search reads on by itself over this many pages without a find; each of them is a thousand conversations. */
const MOST_EMPTY = 5

/**
 * `options()` are those of a call, `snapshot` keeps the list for the tab's next page, `onList(list)` hears of each list.
 * Returns `{refresh(), show(requestId)}`: `refresh` reads the list at once, `show` names the request that is active here,
 * or null; the list is read when it changes.
 */
export function newSidebar(element, { conversationId, options, toggle, behind, kept, snapshot, onList }) {
  const part = (selector) => element.querySelector(selector)
  const [search, scroller, more, words, problem] = ['input', '.scroller', '.next', '.empty', '.problem'].map(part)
  const drawer = newSidebarDrawer(element, { toggle, behind, kept, onOpen: () => refreshAfter(0) })
  const list = newSidebarList(part('.list'), { rename, erase: confirmErase })
  const readPage = (page) => listConversations({ ...options(), tries: 2, ...page })
  let pages = { list: snapshot.get('list') ?? EMPTY_LIST, words: '', isLoaded: false, error: null, emptyInRow: 0 }
  let activeHere = null
  let timer
  const source = newConversationPages(readPage, (changed) => {
    pages = changed
    draw()
    keepUp()
  }, pages.list)

  const isRunning = ({ conversation_id: id, active_request_id: active }) => (
    id === conversationId ? activeHere !== null : active !== null
  )

  function draw() {
    list.show(pages.list.conversations, { currentId: conversationId, isRunning })
    more.hidden = !pages.list.after
    words.textContent = pages.isLoaded ? wordsForList(pages.list, pages.words) : ''
    // Without a key, the dialog that asks for one says it all.
    showProblem(pages.error?.status === 401 ? null : pages.error)
    if (pages.words !== '') return
    drawer.offer(pages.list.conversations.length > 1)
    onList(pages.list)
  }

  function showProblem(error) {
    problem.textContent = error ? wordsForError(error) : ''
    problem.hidden = !error
  }

  function refreshAfter(delayMs) {
    clearTimeout(timer)
    timer = setTimeout(source.refresh, delayMs)
  }

  /** Ask again while there is something to see: more rows, or the end of an answer elsewhere. */
  function keepUp() {
    if (isInSight(more) && !pages.error && pages.emptyInRow < MOST_EMPTY) source.more()
    const isElsewhere = pages.list.conversations.some((one) => one.conversation_id !== conversationId && one.active_request_id)
    if (isElsewhere && !element.hidden && !document.hidden) refreshAfter(RUNNING_MS)
  }

  const isInSight = (one) => one.checkVisibility() && one.getBoundingClientRect().top < scroller.getBoundingClientRect().bottom

  async function rename(id, title) {
    const before = pages.list
    source.change((now) => withTitle(now, id, title))
    try {
      await renameConversation(id, title, options())
      refreshAfter(0)
    } catch (error) {
      source.change(() => before)
      showProblem(error)
    }
  }

  const dialog = document.getElementById('erase')
  function confirmErase(conversation) {
    dialog.querySelector('.title').textContent = conversation.title ?? ''
    dialog.returnValue = ''
    dialog.addEventListener('close', () => {
      if (dialog.returnValue === 'erase') erase(conversation)
    }, { once: true })
    dialog.showModal()
  }

  async function erase({ conversation_id: id }) {
    const at = list.indexOf(id)
    try {
      await eraseConversation(id, options())
    } catch (error) {
      showProblem(error)
      return
    }
    keptOf(id, kept).forget()
    source.change((now) => withoutConversation(now, id))
    if (id === conversationId) location.assign('./')
    else if (!list.focus(at)) search.focus()
  }

  let typing
  search.addEventListener('input', () => {
    clearTimeout(typing)
    typing = setTimeout(() => source.search(search.value.trim()), TYPING_MS)
  })
  search.form.addEventListener('submit', (event) => event.preventDefault())
  search.addEventListener('keydown', (event) => {
    if (event.key === 'ArrowDown' && list.focus(0)) event.preventDefault()
    if (event.key !== 'Escape') return
    event.preventDefault() // Esc would stop the answer, too
    if (search.value === '') drawer.closeOverlay()
    search.value = ''
    source.search('')
  })
  element.addEventListener('click', (event) => {
    const isPlain = !event.ctrlKey && !event.metaKey && !event.shiftKey
    if (!isPlain || !event.target.closest('a')?.ariaCurrent) return
    event.preventDefault()
    drawer.closeOverlay()
  })
  more.addEventListener('click', source.more)
  new IntersectionObserver(keepUp, { root: scroller, rootMargin: '200px' }).observe(more)
  document.addEventListener('visibilitychange', () => {
    if (!document.hidden) refreshAfter(0)
  })
  addEventListener('pagehide', () => {
    if (pages.words === '') snapshot.set('list', { ...pages.list, top: scroller.scrollTop })
  })
  draw()
  scroller.scrollTop = pages.list.top ?? 0
  return {
    refresh: () => refreshAfter(0),
    show(active) {
      if (active === activeHere) return
      activeHere = active
      draw()
      refreshAfter(REFRESH_MS)
    },
  }
}
