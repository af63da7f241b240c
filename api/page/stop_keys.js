/** Esc and Ctrl+C stop the answer, as in a terminal. */

/** `stop()` gives whether there was something to stop. Ctrl+C with a selection copies, and Esc closes an open dialog or popover. */
export function watchKeys(stop) {
  document.addEventListener('keydown', (event) => {
    const isEscape = event.key === 'Escape'
    const isInterrupt = event.key.toLowerCase() === 'c' && event.ctrlKey && !event.shiftKey && !event.altKey
    // Any other key must not search the whole page.
    if ((!isEscape && !isInterrupt) || event.defaultPrevented || event.isComposing) return
    if ((isInterrupt && hasSelection()) || document.querySelector('dialog[open], :popover-open')) return
    if (stop()) event.preventDefault()
  })
}

function hasSelection() {
  const { activeElement: element } = document
  if (element?.selectionStart !== undefined && element.selectionStart !== element.selectionEnd) return true
  return !document.getSelection().isCollapsed
}
