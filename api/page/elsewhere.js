/** The line above the box that says that an answer is being typed in a branch which the reader does not see. */

import { activeRequest } from './words.js'

/** Pure: what Stop stops. An answer that the reader sees goes first, then one of another branch. */
export const requestToStop = (path, requests) => activeRequest(path) ?? activeRequest(requests)

/** Pure: the answer that is being typed in another branch; undefined without one, and for one that only waits. */
export function runningElsewhere(path, requests) {
  const seen = new Set(path.map(({ requestId }) => requestId))
  return requests.find(({ status, requestId }) => status === 'running' && !seen.has(requestId))
}

/**
 * `goTo(requestId)` shows the branch of a request, and `announce(words)` reads words out. Returns `show(path, requests)`.
 */
export function newElsewhere(element, { goTo, announce }) {
  let shown
  element.querySelector('button').addEventListener('click', () => goTo(shown))
  return {
    show(path, requests) {
      const before = shown
      shown = runningElsewhere(path, requests)?.requestId
      element.hidden = shown === undefined
      if (shown !== undefined && shown !== before) announce('An answer is being typed in another branch.')
    },
  }
}
