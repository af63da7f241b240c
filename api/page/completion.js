/** The list of completions over the box: a listbox that the box controls, so that focus stays in the box. */

/** More would need a scroller, which the keyboard could not reach. */
const MOST = 8

/**
 * Completions for `box` in `list`. `completionsOf(text)` gives `[{text, about}]`; `onTake()` is called after a completion was
 * written into the box. `press(event)` handles a key first, and gives true if the key was for the list.
 */
export function newCompletion(box, list, completionsOf, onTake) {
  let found = []
  let active = -1

  function show(items) {
    if (items.length === 0 && found.length === 0) return // at most keys there is nothing to show or to hide
    found = items.slice(0, MOST)
    active = -1
    list.hidden = found.length === 0
    list.replaceChildren(...found.map(itemOf))
    mark()
  }

  function itemOf({ text, about }, at) {
    const item = document.createElement('li')
    Object.assign(item, { id: `completion-${at}`, role: 'option' })
    const name = item.appendChild(document.createElement('code'))
    name.textContent = text.trim()
    item.append(' ', about)
    item.addEventListener('pointerdown', (event) => {
      event.preventDefault() // the box keeps the focus
      take(at)
    })
    return item
  }

  function mark() {
    Array.from(list.children, (item, at) => item.setAttribute('aria-selected', String(at === active)))
    if (active < 0) box.removeAttribute('aria-activedescendant')
    else box.setAttribute('aria-activedescendant', `completion-${active}`)
  }

  function move(step) {
    active = (active + step + found.length) % found.length
    mark()
  }

  function take(at) {
    box.value = found[at].text
    onTake()
    show(completionsOf(box.value))
  }

  const keys = {
    Tab: () => take(Math.max(active, 0)),
    ArrowDown: () => move(1),
    ArrowUp: () => move(active < 0 ? 0 : -1),
    Escape: () => show([]),
  }

  return {
    update: () => show(box.selectionStart === box.value.length ? completionsOf(box.value) : []),
    close: () => show([]),
    press(event) {
      if (found.length === 0 || event.shiftKey || event.isComposing) return false
      const act = keys[event.key] ?? (event.key === 'Enter' && active >= 0 ? () => take(active) : null)
      if (!act) return false
      event.preventDefault()
      event.stopPropagation()
      act()
      return true
    },
  }
}
