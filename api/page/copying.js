/** The clipboard, also on a page without TLS, where browsers offer only the older way. */

/** Copy `text`; resolves to whether that was done. The focus stays where it is. */
export async function copyText(text) {
  const isWritten = await (navigator.clipboard?.writeText(text).then(() => true, () => false) ?? false)
  return isWritten || copyWithSelection(text)
}

function copyWithSelection(text) {
  const focused = document.activeElement
  const box = document.createElement('textarea')
  box.className = 'spoken'
  box.value = text
  document.body.append(box)
  box.select()
  const isCopied = document.execCommand('copy')
  box.remove()
  focused?.focus({ preventScroll: true })
  return isCopied
}
