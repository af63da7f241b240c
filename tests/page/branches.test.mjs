import assert from 'node:assert/strict'
import { test } from 'node:test'

import { newBranchView } from '../../api/page/branch_view.js'
import { choicesAfterErasure, chooseBranch, parentToName, siblingsById, visiblePath, withoutErased } from '../../api/page/branches.js'
import { expectRequest, fold, newConversation } from '../../client/javascript/fold.js'

/** Requests of `'a>b'` (b follows a), `'>a'` (a begins the conversation) and `'?a'` (the parent of a is not known yet). */
const tree = (...turns) => turns.map((turn) => {
  if (turn.startsWith('?')) return { requestId: turn.slice(1), parentId: undefined }
  const [parent, requestId] = turn.split('>')
  return { requestId, parentId: parent || null }
})
const ids = (requests) => requests.map(({ requestId }) => requestId).join('')
const path = (requests, chosen) => ids(visiblePath(requests, chosen))

test('a conversation without branches is one line', () => {
  assert.equal(path([]), '')
  assert.equal(path(tree('>a', 'a>b', 'b>c')), 'abc')
})

test('the branch with the newest turn is shown without a choice', () => {
  const edited = tree('>a', 'a>b', 'b>c', 'a>d')
  assert.equal(path(edited), 'ad')
  assert.equal(path([...edited, ...tree('c>e')]), 'abce')
  assert.equal(path(tree('>a', 'a>b', '>c')), 'c')
})

test('a choice holds at its fork, and the newest branch is shown behind it', () => {
  const requests = tree('>a', 'a>b', 'b>c', 'b>d', 'a>e')
  assert.equal(path(requests, ['b']), 'abd')
  assert.equal(path(requests, ['b', 'c']), 'abc')
  assert.equal(path(requests, ['b', 'e']), 'ae')
  assert.equal(path([...requests, ...tree('e>f')], ['b']), 'abd')
})

test('a request whose parent is not known yet follows the request before it', () => {
  assert.equal(path(tree('>a', 'a>b', '?c', '?d')), 'abcd')
  const edited = expectRequest(newConversation('c'), 'x', {})
  assert.equal(edited.requests[0].parentId, undefined)
})

test('two questions that wait are one line, whoever asked the one between', () => {
  const queued = (requestId, parentId) => ({ kind: 'queued', id: `${requestId}:1-0`, data: { request_id: requestId, parent_id: parentId } })
  let state = fold(newConversation('c'), queued('a', null))
  state = expectRequest(state, 'mine', {})
  state = fold(state, queued('theirs', 'a'))
  assert.deepEqual(visiblePath(state.requests).map(({ requestId }) => requestId), ['a', 'theirs', 'mine'])
})

test('a turn whose parent the conversation has dropped counts as its start', () => {
  assert.equal(path(tree('dropped>a', 'a>b')), 'ab')
  assert.equal(path(tree('itself>itself')).length, 'itself'.length)
})

test('siblings have one parent and the order of their questions', () => {
  const siblings = siblingsById(tree('>a', 'a>b', 'b>c', 'a>d', 'a>e'))
  assert.equal(ids(siblings.get('d')), 'bde')
  assert.equal(ids(siblings.get('a')), 'a')
  assert.equal(siblings.get('other'), undefined)
})

test('going to a request chooses each fork on its way, and one branch per fork', () => {
  const requests = tree('>a', 'a>b', 'b>c', 'a>d', 'b>e')
  assert.deepEqual(chooseBranch([], requests, 'a'), [])
  const chosen = chooseBranch(['d'], requests, 'c')
  assert.deepEqual([...chosen].sort(), ['b', 'c'])
  assert.equal(path(requests, chosen), 'abc')
  assert.deepEqual(chooseBranch(['b'], requests, 'unknown'), ['b'])
})

test('a turn that is edited stays, also if somebody else asks beside it', () => {
  const line = tree('>a', 'a>b')
  const chosen = chooseBranch([], line, 'b', { isHeld: true })
  assert.equal(path([...line, ...tree('a>c')], chosen), 'ab')
  assert.equal(path([...line, ...tree('a>c')], chooseBranch([], line, 'b')), 'ac')
})

test('choices do not grow without limit', () => {
  const many = Array.from({ length: 1_000 }, (_, number) => `old${number}`)
  assert.equal(chooseBranch(many, tree('>a', '>b'), 'a').length, 400)
})

test('a reader of a turn that is erased stays with the turns that followed it', () => {
  const before = tree('>a', 'a>b', 'b>c', 'a>d')
  const after = tree('>a', 'a>c', 'a>d')
  const chosen = choicesAfterErasure(['b'], before, after)
  assert.equal(path(after, chosen), 'ac')
  assert.equal(path(tree('>a', 'a>d'), choicesAfterErasure(['b'], tree('>a', 'a>b', 'a>d'), tree('>a', 'a>d'))), 'ad')
})

test('what a reader erased is gone before the stream says so', () => {
  const erase = (requests, ...gone) => requests.map((one) => ({ ...one, isErased: gone.includes(one.requestId) }))
  const line = tree('>a', 'a>b', 'b>c', 'c>d')
  assert.equal(path(withoutErased(erase(line, 'b', 'c'))), 'ad')
  assert.equal(path(withoutErased(erase(line, 'a'))), 'bcd')
  assert.equal(withoutErased(line), line)
})

test('a replay from the start changes no choice', () => {
  const before = tree('>a', 'a>b', 'b>c', 'a>d')
  assert.deepEqual(choicesAfterErasure(['b'], before, []), ['b'])
  assert.deepEqual(choicesAfterErasure(['b'], [], tree('>a')), ['b'])
})

test('the parent is named only where the newest turn is not the last one that is shown', () => {
  const line = tree('>a', 'a>b')
  assert.equal(parentToName(line, visiblePath(line)), undefined)
  assert.equal(parentToName([], []), undefined)
  const edited = tree('>a', 'a>b', 'a>c')
  assert.equal(parentToName(edited, visiblePath(edited)), undefined)
  assert.equal(parentToName(edited, visiblePath(edited, ['b'])), 'b')
})

test('a request that was just submitted is gone to when it is there', () => {
  let requests = tree('>a', 'a>b', 'a>c')
  const view = newBranchView({ get: () => null, set: () => {} }, () => requests)
  view.goTo('b')
  view.goTo('d')
  assert.equal(ids(view.path()), 'ab')
  requests = [...requests, ...tree('a>d')]
  assert.equal(ids(view.path()), 'ad')
})

test('the chosen branch survives a reload, and an erased turn under it', () => {
  const values = {}
  const kept = { get: (name) => values[name] ?? null, set: (name, value) => { values[name] = value } }
  let requests = tree('>a', 'a>b', 'b>c', 'a>d')
  newBranchView(kept, () => requests).goTo('b')
  const view = newBranchView(kept, () => requests)
  assert.equal(ids(view.path()), 'abc')
  requests = tree('>a', 'a>c', 'a>d')
  assert.equal(ids(view.path()), 'ac')
  assert.equal(ids(newBranchView(kept, () => requests).path()), 'ac')
})
