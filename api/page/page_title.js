/** Pure: the name of a conversation in the page, and in the browser's tab. */

import { firstWordsOf } from './conversation_list.js'
import { questionOf } from './words.js'

/** The server's title; before there is one, the first words of the first question; null before that. */
export function titleOf(requests, titleOfServer) {
  const first = requests.length > 0 ? firstWordsOf(questionOf(requests[0])) : ''
  return titleOfServer || first || null
}

/** The tab's title. `…`: an answer is being typed; `•`: one ended while nobody looked. */
export function tabTitleOf(title, { isRunning, isUnread }) {
  const name = title ?? 'Tickertape'
  if (isUnread) return `• ${name}`
  return isRunning ? `… ${name}` : name
}

/** What the header says about other readers; empty without any. */
export const wordsForWatchers = (count) => (count > 1 ? `${count} watching` : '')
