/** The branch of the conversation that this browser shows. The choices at forks are kept, so that a reload shows the same. */

import { choicesAfterErasure, chooseBranch, parentToName, siblingsById, visiblePath } from './branches.js'

/**
 * `kept` has what the browser keeps of this conversation, `requests()` gives all its requests. Returns `path()`, the
 * requests to show; `goTo(requestId)`, which shows the branch of a request from now on; `parent()`, the parent to name for
 * the next question; and `siblings()`, the siblings of each request by its id.
 */
export function newBranchView(kept, requests) {
  let chosen = [kept.get('branches') ?? []].flat()
  let seen = []
  let path = []

  function keep(choices) {
    if (choices.every((id, number) => id === chosen[number]) && choices.length === chosen.length) return
    chosen = choices
    kept.set('branches', chosen.length > 0 ? chosen : null)
  }

  /** Looks once at each state, because the state changes with each token. */
  function look() {
    const now = requests()
    if (now === seen) return
    keep(choicesAfterErasure(chosen, seen, now))
    seen = now
    path = visiblePath(now, chosen)
  }

  return {
    path() {
      look()
      return path
    },
    goTo(requestId) {
      look()
      keep(chooseBranch(chosen, seen, requestId))
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
  }
}
