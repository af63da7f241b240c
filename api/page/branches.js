/**
 * Pure: a conversation is a tree of turns, and a reader sees one path through it. `requests` are in the order of their
 * questions, each with its `parentId`: null at the start, undefined if the server has not named the parent yet. `chosen`
 * has the ids of turns that this reader chose among siblings, the latest choice last.
 */

/** More choices than a conversation has turns are never needed. */
const MOST_CHOICES = 400

/** The parent of each request. A parent that is unknown counts as the start, as it does on the server. */
function parentsOf(requests) {
  const parents = new Map()
  let before = null
  for (const { requestId, parentId } of requests) {
    const parent = parentId === undefined ? before : parentId
    parents.set(requestId, parents.has(parent) ? parent : null)
    before = requestId
  }
  return parents
}

/** The requests that follow each request, and under null those at the start. */
function childrenOf(requests) {
  const parents = parentsOf(requests)
  const children = new Map()
  for (const request of requests) {
    const parent = parents.get(request.requestId)
    if (!children.has(parent)) children.set(parent, [])
    children.get(parent).push(request)
  }
  return children
}

/** For each request, the number of the newest request that follows it on any branch; its own number if none does. */
function newestBelow(requests) {
  const parents = parentsOf(requests)
  const newest = new Map(requests.map(({ requestId }, number) => [requestId, number]))
  for (const { requestId } of [...requests].reverse()) {
    const parent = parents.get(requestId)
    if (parent !== null) newest.set(parent, Math.max(newest.get(parent), newest.get(requestId)))
  }
  return newest
}

/** The requests that a reader sees: at each fork the chosen branch, without a choice the branch with the newest request. */
export function visiblePath(requests, chosen = []) {
  const children = childrenOf(requests)
  const newest = newestBelow(requests)
  const rank = ({ requestId }) => {
    const choice = chosen.lastIndexOf(requestId)
    return choice < 0 ? newest.get(requestId) : requests.length + choice
  }
  const path = []
  let branches = children.get(null)
  while (branches) {
    path.push(branches.reduce((best, other) => (rank(other) > rank(best) ? other : best)))
    branches = children.get(path.at(-1).requestId)
  }
  return path
}

/** For the id of each request, the requests with the same parent in the order of their questions, itself included. */
export function siblingsById(requests) {
  const siblings = [...childrenOf(requests).values()]
  return new Map(siblings.flatMap((group) => group.map(({ requestId }) => [requestId, group])))
}

/** The requests without those that this reader erased (`isErased`), whose stream may say so later. */
export function withoutErased(requests) {
  const erased = new Set(requests.filter(({ isErased }) => isErased).map(({ requestId }) => requestId))
  if (erased.size === 0) return requests
  const parents = parentsOf(requests)
  const leftOf = (id) => (erased.has(id) ? leftOf(parents.get(id)) : id)
  return requests.filter(({ isErased }) => !isErased).map((request) => (
    erased.has(request.parentId) ? { ...request, parentId: leftOf(request.parentId) } : request
  ))
}

/**
 * The choices after a reader went to a request: at each fork on its path, the branch that leads there. A held request is
 * chosen even without siblings, so that siblings which others add do not take its place.
 */
export function chooseBranch(chosen, requests, requestId, { isHeld = false } = {}) {
  const [parents, siblings] = [parentsOf(requests), siblingsById(requests)]
  let after = chosen
  for (let id = requestId; parents.has(id); id = parents.get(id)) {
    const group = siblings.get(id)
    if (group.length > 1 || (isHeld && id === requestId)) after = [...after.filter((other) => !group.some((one) => one.requestId === other)), id]
  }
  return after.slice(-MOST_CHOICES)
}

/** The choices after turns were erased: the turn that was read behind an erased one is chosen in its place. */
export function choicesAfterErasure(chosen, before, after) {
  const isLeft = (id) => after.some(({ requestId }) => requestId === id)
  const path = visiblePath(before, chosen)
  return chosen.map((id) => {
    const place = path.findIndex(({ requestId }) => requestId === id)
    const next = path.slice(place + 1).find(({ requestId }) => isLeft(requestId))
    return place >= 0 && next && !isLeft(id) ? next.requestId : id
  })
}

/**
 * The parent to name for the next question, undefined if the server should let the question follow the newest one. Thus two
 * people who ask at the same time at the end of a conversation get one line, and not a branch each.
 */
export function parentToName(requests, path) {
  const last = path.at(-1)
  return last === requests.at(-1) ? undefined : last?.requestId ?? null
}
