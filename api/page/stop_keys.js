/** Esc and Ctrl+C stop the answer, as in a terminal. */

/** `stop()` gives whether there was something to stop. Ctrl+C with a selection copies, and Esc closes an open dialog or popover. */
export function watchKeys(stop) {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open], :popover-open')) return
    const isEscape = event.key === 'Escape'
    const isInterrupt = event.key.toLowerCase() === 'c' && event.ctrlKey && !event.shiftKey && !event.altKey && !hasSelection()
    if ((isEscape || isInterrupt) && stop()) event.preventDefault()
  })
}

function hasSelection() {
  const { activeElement: element } = document
  if (element?.selectionStart !== undefined && element.selectionStart !== element.selectionEnd) return true
  return !document.getSelection().isCollapsed
}
