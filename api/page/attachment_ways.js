/** The three ways in which files come to the page: a button, the clipboard, and a drop anywhere. */

/** Calls `add(files)` for the files of `button` and `chooser`, of a paste, and of a drop. `shade` is shown while files are over the page. */
export function watchFiles({ button, chooser, shade, box }, add) {
  button.addEventListener('click', () => chooser.click())
  chooser.addEventListener('change', () => {
    add([...chooser.files])
    chooser.value = '' // so that the same file can be chosen again
    box.focus()
  })
  document.addEventListener('paste', (event) => {
    const files = filesOfPaste(event.clipboardData)
    if (files.length === 0 || isElsewhere(event.target, box)) return
    event.preventDefault()
    add(files)
  })
  watchDrops(shade, add)
}

const isElsewhere = (target, box) => target !== box && Boolean(target.closest?.('input, textarea, dialog'))

/** An office program puts a picture of the text beside the text. Then the text is what a person means. */
export function filesOfPaste(data) {
  const types = [...(data?.types ?? [])]
  const isText = types.includes('text/plain') && (types.includes('text/html') || types.includes('text/rtf'))
  return isText ? [] : [...(data?.files ?? [])]
}

/** Without `preventDefault` the browser would leave the page and open the file. */
function watchDrops(shade, add) {
  const holdsFiles = (event) => event.dataTransfer?.types.includes('Files')
  const isAllowed = () => !document.querySelector('dialog[open]')
  document.addEventListener('dragover', (event) => {
    if (!holdsFiles(event)) return
    event.preventDefault()
    event.dataTransfer.dropEffect = isAllowed() ? 'copy' : 'none'
    shade.hidden = !isAllowed()
  })
  document.addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) shade.hidden = true
  })
  document.addEventListener('drop', (event) => {
    shade.hidden = true
    if (!holdsFiles(event)) return
    event.preventDefault()
    if (isAllowed()) add([...event.dataTransfer.files])
  })
}
