import assert from 'node:assert/strict'
import { test } from 'node:test'

import { withQuestion } from '../../api/page/turn_commands.js'
import { wordsForUsage } from '../../api/page/usage_words.js'
import { fold, newRequest } from '../../client/javascript/fold.js'

const USAGE = { prompt_tokens: 12, completion_tokens: 45 }

test('usage and times are one line, and each part shows only where it is known', () => {
  const timing = { firstOutputMs: 312, totalMs: 1_470 }
  const all = { usage: USAGE, timing, model: 'smollm2', interruption: null }
  assert.equal(wordsForUsage(all), '12 tokens in, 45 out · began after 0.3 s · ended after 1.5 s · 38 tokens/s · smollm2')
  assert.equal(wordsForUsage({ ...all, interruption: 'resumed' }), '12 tokens in, 45 out · began after 0.3 s · ended after 1.5 s · smollm2')
  assert.equal(wordsForUsage({ ...all, usage: { completion_tokens: 1 } }), '1 token · began after 0.3 s · ended after 1.5 s · smollm2')
  assert.equal(wordsForUsage({ usage: null, timing: null, model: null }), '')
})

test('a burst has no speed, and slow answers have a decimal', () => {
  const words = (firstOutputMs, totalMs) => wordsForUsage({ usage: { completion_tokens: 3 }, timing: { firstOutputMs, totalMs } })
  assert.equal(words(0, 99), '3 tokens · began after 0.0 s · ended after 0.1 s')
  assert.equal(words(12_000, 14_000), '3 tokens · began after 12 s · ended after 14 s · 1.0 tokens/s')
})

test('times and options come from the log, and a replay keeps the options', () => {
  const queued = { kind: 'queued', id: '1-0', data: { model: 'm', temperature: 0, variables: { A: 'b' }, messages: [] } }
  const completed = { kind: 'completed', id: '2-1', data: { timing: { first_output_ms: 5, total_ms: 7 } } }
  const state = [queued, completed].reduce(fold, newRequest('r'))
  assert.deepEqual(state.timing, { firstOutputMs: 5, totalMs: 7 })
  const options = { model: 'm', temperature: 0, variables: { A: 'b' } }
  assert.deepEqual(state.options, options)
  assert.deepEqual(fold(state, { kind: 'rewind', data: {} }).options, options)
  assert.equal(fold(newRequest('r'), { kind: 'completed', data: {} }).timing, null)
})

test('an edited question keeps the role before it and the files beside it', () => {
  const system = { role: 'system', content: 'Say arr.' }
  const picture = { type: 'image_url', image_url: { url: 'data:' } }
  assert.deepEqual(withQuestion([system, { role: 'user', content: 'old' }], 'new'), [system, { role: 'user', content: 'new' }])
  assert.deepEqual(
    withQuestion([{ role: 'user', content: [{ type: 'text', text: 'old' }, picture] }], 'new'),
    [{ role: 'user', content: [{ type: 'text', text: 'new' }, picture] }],
  )
})
