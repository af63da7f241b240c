/** Pure: what an answer cost and how fast it came, as one quiet line. */

/** A shorter time from the first output to the last says nothing about the speed. */
const SHORTEST_MS = 100

/** `45 tokens · began after 0.3 s · ended after 1.5 s · 38 tokens/s · smollm2`, from what the log has; each part only where it is known. */
export function wordsForUsage({ usage, timing, model, interruption }) {
  return [wordsForTokens(usage), ...(timing ? wordsForTiming(usage, timing, interruption) : []), model].filter(Boolean).join(' · ')
}

function wordsForTokens(usage) {
  const { prompt_tokens: into, completion_tokens: out } = usage ?? {}
  if (!out) return ''
  if (into) return `${into} tokens in, ${out} out`
  return out === 1 ? '1 token' : `${out} tokens`
}

function wordsForTiming(usage, { firstOutputMs, totalMs }, interruption) {
  const writtenMs = totalMs - firstOutputMs
  // An answer that was continued has tokens of attempts whose time is not known.
  const isKnown = usage?.completion_tokens > 1 && writtenMs >= SHORTEST_MS && interruption !== 'resumed'
  return [
    `began after ${seconds(firstOutputMs)}`, `ended after ${seconds(totalMs)}`,
    isKnown ? `${short(1_000 * (usage.completion_tokens - 1) / writtenMs)} tokens/s` : '',
  ]
}

const seconds = (ms) => `${short(ms / 1_000)} s`
const short = (number) => (number < 9.95 ? number.toFixed(1) : String(Math.round(number)))
