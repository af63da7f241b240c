/** What the browser keeps over a reload: JSON values in its storage, or nowhere if the browser forbids that. */

const PREFIX = 'tickertape:'

/** `get(name)` gives the kept value or null, `set(name, value)` keeps it; null or an empty text removes it. */
export function newKept(storage = storageOf('localStorage')) {
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

/** `localStorage` or `sessionStorage`; null if the browser forbids it, as browsers do that block cookies. */
export function storageOf(name) {
  try {
    return globalThis[name] ?? null
  } catch {
    return null
  }
}

/** How many conversations the browser keeps something of. The one written longest ago goes first. */
const MOST_CONVERSATIONS = 50

/** The same two functions for values that belong to one conversation, and `forget()`, which removes all of them. */
export function keptOf(conversationId, kept) {
  const all = () => kept.get('conversations') ?? {}
  return {
    get: (name) => all()[conversationId]?.[name] ?? null,
    set(name, value) {
      const { [conversationId]: mine = {}, ...others } = all()
      const { [name]: _, ...rest } = mine
      const after = value === null || value === '' ? rest : { ...rest, [name]: value }
      const entries = Object.entries(others).slice(1 - MOST_CONVERSATIONS)
      if (Object.keys(after).length > 0) entries.push([conversationId, after])
      kept.set('conversations', entries.length > 0 ? Object.fromEntries(entries) : null)
    },
    forget() {
      const { [conversationId]: _, ...others } = all()
      kept.set('conversations', Object.keys(others).length > 0 ? others : null)
    },
  }
}
