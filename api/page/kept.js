/** What the browser keeps over a reload: JSON values in localStorage, or nowhere if the browser forbids that. */

const PREFIX = 'tickertape:'

/** `get(name)` gives the kept value or null, `set(name, value)` keeps it; null or an empty text removes it. */
export function newKept(storage = storageOfPage()) {
  return {
    get(name) {
      try {
        return JSON.parse(storage?.getItem(PREFIX + name) ?? 'null')
      } catch {
        return null // another program wrote it
      }
    },
    set(name, value) {
      try {
        if (value === null || value === '') storage?.removeItem(PREFIX + name)
        else storage?.setItem(PREFIX + name, JSON.stringify(value))
      } catch {
        // The storage is full: the value is lost at a reload, and nothing else is.
      }
    },
  }
}

function storageOfPage() {
  try {
    return globalThis.localStorage
  } catch {
    return null
  }
}
