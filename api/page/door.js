/** The dialog that asks for the server's API key. The key stays in the tab, and goes with the tab. */

import { storageOf } from './kept.js'

const KEY = 'tickertape-api-key'

/** The ticket of a shared link. It is behind the `#` of the address, which browsers send to no server. */
export const readTicket = () => new URLSearchParams(location.hash.slice(1)).get('ticket')

const storage = storageOf('sessionStorage')
let keyOfPage = null // for a browser that forbids the storage

export const readKey = () => readTicket() ?? storage?.getItem(KEY) ?? keyOfPage

function keepKey(key) {
  keyOfPage = key
  try {
    storage?.setItem(KEY, key)
  } catch {
    // The storage is full: the key goes with the page.
  }
}

/** `ask()` opens `dialog`; `onKey()` is called when a key was given. */
export function newDoor(dialog, onKey) {
  const [refused, input] = [dialog.querySelector('.problem'), dialog.querySelector('input')]
  dialog.addEventListener('close', () => {
    if (input.value === '') return
    keepKey(input.value)
    input.value = ''
    onKey()
  })
  return {
    ask() {
      if (dialog.open) return
      refused.hidden = !readKey()
      dialog.showModal()
    },
  }
}
