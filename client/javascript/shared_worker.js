/** The SharedWorker of a browser: the edge between its tabs and the hub that reads for all of them. */

import { PING_MS, SharedHub } from './shared_hub.js'

const hub = new SharedHub()

globalThis.addEventListener('connect', ({ ports: [port] }) => {
  const tab = { send: (message) => port.postMessage(message) }
  port.addEventListener('message', ({ data }) => hub.take(tab, data))
  port.addEventListener('close', () => hub.leave(tab)) // browsers without this event leave it to the pings
  port.start()
})
globalThis.addEventListener('online', () => hub.reconnect())
setInterval(() => hub.tick(), PING_MS)
