/** A form in place of a question, with the question's text to change. */

/** Without a mouse or a real keyboard, Enter is the only key that can start a line. */
const isPhone = matchMedia('(hover: none) and (pointer: coarse)').matches

/**
 * Show the form in front of the element `text`, which is hidden until the form is gone. `onSave(text)` is a promise: the
 * form stays if it rejects. Esc and Cancel call `onClose()` after the form is gone, and so does a question that was sent.
 * Returns `leave()`, to be called when the question itself goes: `onLost(text)` then gets a text that the person changed
 * and that is not sent.
 */
export function editQuestion(text, question, { onSave, onClose, onLost }) {
  const form = document.createElement('form')
  const box = form.appendChild(document.createElement('textarea'))
  const row = form.appendChild(document.createElement('div'))
  const [cancel, save] = ['Cancel', 'Save & send'].map((words) => row.appendChild(newButton(words)))
  let [isOpen, isLeft] = [true, false]
  form.className = 'edit'
  row.className = 'row'
  save.type = 'submit'
  save.className = 'main'
  box.setAttribute('aria-label', 'Question')
  box.dir = 'auto'
  box.value = question

  function fit() {
    box.rows = Math.min(12, box.value.split('\n').length + 1)
  }

  function leave() {
    isLeft = true
    // While the text is on its way, nothing is lost yet.
    if (!box.readOnly) keepText()
  }

  function keepText() {
    if (isOpen && box.value !== question && box.value.trim() !== '') onLost(box.value)
    isOpen = false
  }

  function close() {
    isOpen = false
    form.remove()
    text.hidden = false
    onClose()
  }

  async function send() {
    if (box.readOnly || box.value.trim() === '') return
    box.readOnly = true
    save.disabled = true
    try {
      await onSave(box.value)
      close()
    } catch {
      box.readOnly = false
      save.disabled = false
      if (isLeft) keepText()
      else box.focus()
    }
  }

  box.addEventListener('input', fit)
  form.addEventListener('keydown', (event) => {
    if (event.isComposing || event.keyCode === 229) return
    if (event.key === 'Escape') close()
    else if (event.key === 'Enter' && event.target === box && !event.shiftKey && (!isPhone || event.ctrlKey || event.metaKey)) send()
    else return
    event.preventDefault() // Esc would also stop the answer that is being written
  })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    send()
  })
  cancel.addEventListener('click', close)
  text.hidden = true
  text.before(form)
  fit()
  box.focus()
  box.setSelectionRange(question.length, question.length)
  return { leave }
}

function newButton(words) {
  const button = document.createElement('button')
  button.type = 'button'
  button.textContent = words
  return button
}
