/** Says to screen readers that an answer began and how it ended; no token of it is read out. */

import { isOver } from './client/v1/client.js'
import { wordsForBeginning, wordsForConnection, wordsForEnding } from './words.js'

/** `show(requests)` compares with the requests shown before and puts what changed into `element`, a polite live region. */
export function newAnnouncer(element) {
  let before = new Map()
  let isLost = false
  return {
    /** Say once that the connection was lost, however often it is tried, and once that it is back. */
    showConnection({ status }) {
      const words = wordsForConnection(status, isLost)
      if (words) element.textContent = words
      isLost = status === 'reconnecting' || (isLost && status !== 'open')
    },
    /** Say these words now. */
    say(words) {
      element.textContent = words
    },
    show(requests) {
      const said = requests.map((request) => change(before.get(request.requestId), request)).filter(Boolean)
      before = new Map(requests.map((request) => [request.requestId, request.status]))
      if (said.length > 0) element.textContent = said.at(-1)
    },
  }
}

/** Only changes that happen before the reader's eyes are said: a replay of old answers is not. One may begin before it is seen. */
function change(before, request) {
  if (before === request.status) return ''
  if (request.status === 'running') return wordsForBeginning()
  return before && isOver(request) ? wordsForEnding(request) : ''
}
