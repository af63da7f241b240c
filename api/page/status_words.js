/** Pure: what the status page shows for a status, and the lines of its charts. */

export const KEPT_S = 300

/** The words at the top of the page: `headline`, the problems below, and the `state` for the colour. */
export function verdictOf(status) {
  if (status.verdict === 'ok') return { state: 'ok', headline: 'All is well', problems: [] }
  const messages = status.problems.map((problem) => problem.message)
  if (messages.length === 1) return { state: 'problems', headline: messages[0], problems: [] }
  return { state: 'problems', headline: `${messages.length} problems`, problems: messages }
}

/** The numbers of a status as pairs of a name and a text, in the order of the page. */
export function numbersOf(status) {
  const { queue, workers } = status
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0)
  const ofQueue = queue === null ? [] : [
    ['Waiting', `${queue.waiting}`],
    ['Oldest wait', queue.oldest_s === null ? '–' : duration(queue.oldest_s)],
    ['Running', slots > 0 ? `${queue.running} / ${slots}` : `${queue.running}`],
    ['Waiting to retry', `${queue.delayed}`],
    ['Behind another turn', `${queue.held}`],
    ['Given up (dead)', `${queue.dead}`],
  ]
  return [
    ...ofQueue,
    ['Workers', `${workers.length}`],
    ['Deltas per second', `${status.deltas_per_s}`],
    ['Open streams', `${status.open_streams}`],
    ['Readers of conversations', `${status.watchers}`],
    ['API processes', `${status.api_processes}`],
    ['Takeovers', `${status.takeovers}`],
    ['Retries', `${status.retries}`],
    ['Completed', `${status.completed}`],
    ['Failed', `${status.failed}`],
    ['Redis reply', status.redis_ms === null ? '–' : `${status.redis_ms} ms`],
  ]
}

export const CHARTS = [
  { name: 'Waiting requests', valueOf: (status) => status.queue?.waiting ?? 0 },
  { name: 'Running requests', valueOf: (status) => status.queue?.running ?? 0 },
  { name: 'Deltas per second', valueOf: (status) => status.deltas_per_s },
  { name: 'Open streams', valueOf: (status) => status.open_streams },
]

/** The statuses of the last five minutes, with `status` at the end. */
export function keep(statuses, status) {
  const since = status.at - KEPT_S
  return [...statuses.filter((each) => each.at > since && each.at < status.at), status]
}

/** A line of 100 x 30 units for the values, and the same in words. */
export function chartOf(name, statuses, valueOf) {
  const end = statuses.at(-1).at
  const values = statuses.map(valueOf)
  const highest = Math.max(...values)
  const points = statuses.map((status, n) => {
    const x = 100 - ((end - status.at) / KEPT_S) * 100
    const y = highest > 0 ? 29 - (values[n] / highest) * 28 : 29
    return `${x.toFixed(1)},${y.toFixed(1)}`
  })
  return { points: points.join(' '), text: `${name}: ${values.at(-1)} now, at most ${highest} in the last five minutes` }
}

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 120) return `${Math.round(seconds)} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

/** The pause in ms before the next read: longer after each failure in a row, at most 30 s. */
export const pauseMs = (failures) => Math.min(2000 * 2 ** failures, 30_000)
