/** Work that may come after the next frame: the newest first, a few milliseconds at a time. */

const BUDGET_MS = 8
/**
 * A long conversation comes in pieces, the newest answer last. Work waits until so long nothing new was added, so that no
 * older answer is drawn first; but not longer than `LONGEST_MS`.
 */
const SETTLE_MS = 30
const LONGEST_MS = 200

/** `add(job)` runs a function later, before all that were added earlier. `later` and `now` are the browser's, or a test's. */
export function newDrawQueue({ later = (run, ms) => setTimeout(run, ms), now = () => performance.now() } = {}) {
  let jobs = []
  let [isScheduled, isRunning] = [false, false]
  let [addedAt, waitsSince] = [0, 0]

  function schedule(ms) {
    if (isScheduled) return
    isScheduled = true
    later(run, ms)
  }

  function run() {
    isScheduled = false
    const rest = Math.min(addedAt + SETTLE_MS, waitsSince + LONGEST_MS) - now()
    if (rest > 0) schedule(rest)
    else work()
  }

  function work() {
    const end = now() + BUDGET_MS
    isRunning = true
    try {
      do jobs.pop()?.()
      while (jobs.length > 0 && now() < end)
    } finally {
      isRunning = false
    }
    if (jobs.length > 0) schedule(0)
  }

  return {
    add(job) {
      // What a job adds is the rest of its work.
      if (!isRunning) addedAt = now()
      if (jobs.length === 0) waitsSince = now()
      jobs = jobs.filter((other) => other !== job)
      jobs.push(job)
      schedule(isRunning ? 0 : SETTLE_MS)
    },
  }
}
