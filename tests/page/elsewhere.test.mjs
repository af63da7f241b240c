import assert from 'node:assert/strict'
import { test } from 'node:test'

import { newRequest } from '../../client/javascript/fold.js'
import { requestToStop, runningElsewhere } from '../../api/page/elsewhere.js'

const [done, seen, hidden] = [['a', 'completed'], ['b', 'running'], ['c', 'running']].map(([id, status]) => newRequest(id, { status }))
const waiting = newRequest('d')

test('an answer of another branch is named, and one that can be seen or that waits is not', () => {
  assert.equal(runningElsewhere([done], [done, hidden]), hidden)
  assert.equal(runningElsewhere([done, waiting], [done, hidden, waiting]), hidden)
  assert.equal(runningElsewhere([done, seen], [done, seen]), undefined)
  assert.equal(runningElsewhere([done], [done, waiting]), undefined)
  assert.equal(runningElsewhere([], []), undefined)
})

test('Stop stops what can be seen, and then what cannot', () => {
  assert.equal(requestToStop([done, seen], [done, seen, hidden]), seen)
  assert.equal(requestToStop([done, waiting], [done, hidden, waiting]), waiting)
  assert.equal(requestToStop([done], [done, hidden]), hidden)
  assert.equal(requestToStop([done], [done, waiting]), waiting)
  assert.equal(requestToStop([done], [done]), undefined)
})
