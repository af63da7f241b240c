/** Work that may come after the next frame: the newest first, a few milliseconds at a time. */

const BUDGET_MS = 8

/** `add(job)` runs a function later, before all that were added earlier. `later` and `now` are the browser's, or a test's. */
export function newDrawQueue({ later = (run) => setTimeout(run), now = () => performance.now() } = {}) {
  let jobs = []
  let isScheduled = false

  function schedule() {
    if (isScheduled) return
    isScheduled = true
    later(run)
  }

  function run() {
    isScheduled = false
    const end = now() + BUDGET_MS
    do jobs.pop()?.()
    while (jobs.length > 0 && now() < end)
    if (jobs.length > 0) schedule()
  }

  return {
    add(job) {
      jobs = jobs.filter((other) => other !== job)
      jobs.push(job)
      schedule()
    },
  }
}
