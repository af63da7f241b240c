/** The branch of the conversation that this browser shows. The choices at forks are kept, so that a reload shows the same. */

import { choicesAfterErasure, chooseBranch, parentToName, siblingsById, visiblePath, withoutErased } from './branches.js'

/**
 * `kept` has what the browser keeps of this conversation, `requests()` gives all its requests. Returns `path()`, the
 * requests to show; `goTo(requestId)`, which shows the branch of a request from now on; `parent()`, the parent to name for
 * the next question; `siblings()`, the siblings of each request by its id; and `all()`, the requests of all branches.
 */
export function newBranchView(kept, requests) {
  let chosen = [kept.get('branches') ?? []].flat()
  let latest = null
  let seen = []
  let awaited = null
  let path = []

  function keep(choices) {
    if (choices.every((id, number) => id === chosen[number]) && choices.length === chosen.length) return
    chosen = choices
    kept.set('branches', chosen.length > 0 ? chosen : null)
  }

  /** Looks once at each state, because the state changes with each token. */
  function look() {
    if (requests() === latest) return
    latest = requests()
    const now = withoutErased(latest)
    keep(choicesAfterErasure(chosen, seen, now))
    seen = now
    if (awaited && isSeen(awaited)) {
      keep(chooseBranch(chosen, now, awaited))
      awaited = null
    }
    path = visiblePath(now, chosen)
  }

  const isSeen = (id) => seen.some(({ requestId }) => requestId === id)

  return {
    path() {
      look()
      return path
    },
    goTo(requestId, options) {
      look()
      // What was just submitted may come with the next state only.
      if (!isSeen(requestId)) awaited = requestId
      keep(chooseBranch(chosen, seen, requestId, options))
      path = visiblePath(seen, chosen)
    },
    parent() {
      look()
      return parentToName(seen, path)
    },
    siblings() {
      look()
      return siblingsById(seen)
    },
    all() {
      look()
      return seen
    },
  }
}
