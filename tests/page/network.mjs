/** A network of which a test plays the other end. */

/** The browser's EventSource as its standard has it, without a network: a test plays the server. */
export class EventSource extends EventTarget {
  static CONNECTING = 0
  static OPEN = 1
  static CLOSED = 2
  static made = []

  constructor(url) {
    super()
    Object.assign(this, { url, readyState: 0, lastEventId: '' })
    EventSource.made.push(this)
  }

  open() {
    this.readyState = 1
    this.dispatchEvent(new Event('open'))
  }

  send(kind, data, id = this.lastEventId) {
    this.lastEventId = id
    this.dispatchEvent(Object.assign(new Event(kind), { data: typeof data === 'string' ? data : JSON.stringify(data), lastEventId: id }))
  }

  /** The network broke: the browser would connect again. */
  drop() {
    this.readyState = 0
    this.dispatchEvent(new Event('error'))
  }

  /** The answer was not a stream: the browser gives up. */
  refuse() {
    this.readyState = 2
    this.dispatchEvent(new Event('error'))
  }

  close() {
    this.readyState = 2
  }
}

/** Let what is ready run. */
export const turns = async () => {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate)
}

/** A `fetch` for a server, or a proxy, that answers everything so. */
export const refusing = (status, headers = {}) => async () => new Response(status === 204 ? null : '<h1>No</h1>', { status, headers })

const SILENCE_MS = 37_500

/** Timers that run when the test says so; the one that waits for a connection to fall silent is apart from the others. */
export function heldTimers(t) {
  const timers = new Set()
  t.mock.method(globalThis, 'setTimeout', (run, delayMs) => {
    const timer = { run, delayMs }
    timers.add(timer)
    return timer
  })
  t.mock.method(globalThis, 'clearTimeout', (timer) => timers.delete(timer))
  const fire = async (isDue) => {
    const due = [...timers].filter(isDue)
    due.forEach((timer) => timers.delete(timer))
    due.forEach(({ run }) => run())
    await turns()
  }
  return {
    delays: () => [...timers].map(({ delayMs }) => delayMs).filter((delayMs) => delayMs !== SILENCE_MS),
    fire: () => fire(({ delayMs }) => delayMs !== SILENCE_MS),
    fallSilent: () => fire(({ delayMs }) => delayMs === SILENCE_MS),
  }
}
