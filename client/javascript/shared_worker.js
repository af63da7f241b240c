/** The SharedWorker of a browser: the edge between its tabs and the hub that reads for all of them. */

import { PING_MS, SharedHub } from './shared_hub.js'
// All that the hub imports, so that the browser asks for all at once and not for one behind the other.
import './calls.js'
import './fold.js'
import './kept_events.js'
import './reconnection.js'
import './shared_stream.js'
import './streams.js'

const hub = new SharedHub()

globalThis.addEventListener('connect', ({ ports: [port] }) => {
  const tab = { send: (message) => port.postMessage(message) }
  port.addEventListener('message', ({ data }) => hub.take(tab, data))
  port.addEventListener('close', () => hub.leave(tab)) // browsers without this event leave it to the pings
  port.start()
})
globalThis.addEventListener('online', () => hub.reconnect())
setInterval(() => hub.tick(), PING_MS)
