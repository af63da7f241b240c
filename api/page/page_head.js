/** The title in the tab and in the header, and how many are watching. */

import { tabTitleOf, titleOf, wordsForWatchers } from './page_title.js'
import { activeRequest } from './words.js'

/** A count that lasts this long is read out; readers who reload come and go faster. */
const SETTLED_MS = 5_000

/** `show(state)` draws, also in a hidden tab; `titleIs(title)` hears what the server calls the conversation. */
export function newPageHead({ title, watchers, said }) {
  let titleOfServer = null
  let [isRunning, isUnread] = [false, false]
  let shown = { requests: [], watchers: 1 }
  let [timer, count, countSaid] = [undefined, 1, 1]

  function draw() {
    const words = titleOf(shown.requests, titleOfServer)
    const tab = tabTitleOf(words, { isRunning, isUnread })
    if (document.title !== tab) document.title = tab
    if (title.textContent !== (words ?? '')) title.textContent = words ?? ''
  }

  function showWatchers(now) {
    if (now === count) return
    count = now
    watchers.querySelector('.count').textContent = count
    watchers.hidden = count < 2
    clearTimeout(timer)
    timer = setTimeout(() => {
      if (count !== countSaid) said.textContent = wordsForWatchers(count) || 'Nobody else is watching'
      countSaid = count
    }, SETTLED_MS)
  }

  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return
    isUnread = false
    draw()
  })
  return {
    show(state) {
      const isNowRunning = Boolean(activeRequest(state.requests))
      if (isRunning && !isNowRunning && document.hidden) isUnread = true
      isRunning = isNowRunning
      shown = state
      draw()
      showWatchers(state.watchers ?? 1)
    },
    titleIs(words) {
      titleOfServer = words
      draw()
    },
    get title() {
      return titleOf(shown.requests, titleOfServer)
    },
  }
}
