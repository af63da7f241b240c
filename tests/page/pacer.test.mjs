/** How often the page is drawn. Run: node --test tests/page/pacer.test.mjs (also run by pytest). */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { newPacer } from '../../api/page/pacer.js'

/** A pacer on a clock of its own, whose drawings take `drawMs`; `frames` has when each was drawn. */
function paced(drawMs) {
  const [frames, waits] = [[], []]
  let [now, next] = [0, null]
  const draw = () => {
    frames.push(now)
    now += drawMs
  }
  const later = (run, ms) => {
    waits.push(ms)
    now += ms
    run()
  }
  const pacer = newPacer(draw, { frame: (run) => { next = run }, later, now: () => now })
  const showFrame = () => {
    const run = next
    next = null
    run?.()
  }
  return { pacer, frames, waits, showFrame, pass: (ms) => { now += ms } }
}

test('many who ask before a frame get one drawing', () => {
  const { pacer, frames, showFrame } = paced(1)
  pacer.ask()
  pacer.ask()
  showFrame()
  showFrame()
  assert.deepEqual(frames, [0])
})

test('a drawing that took long is followed by a rest, in which keys get their turn', () => {
  const { pacer, waits, showFrame } = paced(5)
  pacer.ask()
  showFrame()
  pacer.ask()
  assert.deepEqual(waits, [30])
  showFrame()
  assert.deepEqual(waits, [30])
})

test('a drawing that is asked for after the rest comes with the next frame', () => {
  const { pacer, frames, waits, showFrame, pass } = paced(5)
  pacer.ask()
  showFrame()
  pass(31)
  pacer.ask()
  showFrame()
  assert.deepEqual([frames, waits], [[0, 36], []])
})

test('a new question does not wait for the rest to end', () => {
  const runs = []
  const frames = []
  let count = 0
  const pacer = newPacer(() => { count += 1 }, { frame: (run) => frames.push(run), later: (run) => runs.push(run), now: () => count * 5 })
  pacer.ask()
  frames.shift()()
  pacer.ask()
  pacer.askNow()
  assert.equal(frames.length, 1)
  frames.shift()()
  runs.shift()?.()
  assert.deepEqual([count, frames.length], [2, 0])
})

test('a slow machine still draws ten times a second', () => {
  const { pacer, waits, showFrame } = paced(60)
  pacer.ask()
  showFrame()
  pacer.ask()
  assert.deepEqual(waits, [100])
})

test('a drawing that fails does not stop the next', () => {
  let count = 0
  let run
  const fail = () => {
    count += 1
    throw new Error('cannot draw')
  }
  const pacer = newPacer(fail, { frame: (next) => { run = next }, later: (next) => next(), now: () => 0 })
  for (let turn = 0; turn < 2; turn += 1) {
    pacer.ask()
    assert.throws(run, /cannot draw/)
  }
  assert.equal(count, 2)
})
