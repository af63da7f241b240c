import assert from 'node:assert/strict'
import { test } from 'node:test'

import { chartOf, duration, keep, numbersOf, pauseMs, verdictOf } from '../../api/page/status_words.js'

const problem = (message) => ({ code: 'x', message })
const status = (known) => ({
  verdict: 'ok', problems: [], at: 1000, queue: { waiting: 2, oldest_s: null, running: 3, delayed: 0, held: 0, dead: 0 },
  workers: [{ slots: 8, running: 3, seen_s: 1, is_draining: false }], deltas_per_s: 12.5, open_streams: 4, ...known,
})

test('the headline is the only problem, or how many there are', () => {
  assert.equal(verdictOf(status({})).headline, 'All is well')
  assert.equal(verdictOf(status({ verdict: 'problems', problems: [problem('No worker.')] })).headline, 'No worker.')
  const two = verdictOf(status({ verdict: 'problems', problems: [problem('a'), problem('b')] }))
  assert.deepEqual([two.headline, two.problems], ['2 problems', ['a', 'b']])
})

test('the numbers show the load of the slots, and nothing of a queue that could not be read', () => {
  const numbers = Object.fromEntries(numbersOf(status({})))
  assert.deepEqual([numbers.Running, numbers['Oldest wait'], numbers.Workers], ['3 / 8', '–', '1'])
  assert.equal('Waiting' in Object.fromEntries(numbersOf(status({ queue: null, workers: [] }))), false)
})

test('statuses of the last five minutes are kept once each', () => {
  const kept = [1000, 1002, 1002, 1302].reduce((all, at) => keep(all, status({ at })), [])
  assert.deepEqual(kept.map((each) => each.at), [1302])
  assert.equal(keep(keep([], status({ at: 5 })), status({ at: 7 })).length, 2)
})

test('a chart ends at the right, its highest value is at the top, and words say the same', () => {
  const values = [status({ at: 850, open_streams: 10 }), status({ at: 1000, open_streams: 0 })]
  const chart = chartOf('Open streams', values, (each) => each.open_streams)
  assert.equal(chart.points, '50.0,1.0 100.0,29.0')
  assert.equal(chart.text, 'Open streams: 0 now, at most 10 in the last five minutes')
})

test('durations are short, and pauses grow with failures up to a limit', () => {
  assert.deepEqual([1.23, 12.3, 600, 9000].map(duration), ['1.2 s', '12 s', '10 min', '3 h'])
  assert.deepEqual([0, 1, 2, 9].map(pauseMs), [2000, 4000, 8000, 30000])
})
