/** The box in which a question is written, its role, and its Send button. */

import { wordsForError } from './words.js'

/**
 * A composer on `form`. `onSend({message, role})` sends a question; the box is emptied when its promise resolves, and keeps
 * the question when the promise rejects. `onResize()` is called when the box changes its height.
 */
export function newComposer(form, { onSend, onResize }) {
  const [box, roles, send] = [form.elements.message, form.elements.role, form.querySelector('#send')]
  const problem = document.getElementById('problem')

  function fit() {
    box.style.height = 'auto'
    box.style.height = `${box.scrollHeight}px`
    onResize()
  }

  function showProblem(error) {
    problem.hidden = !error || error.status === 401
    problem.textContent = error ? wordsForError(error) : ''
    box.setAttribute('aria-invalid', String(error?.param === 'message'))
    roles.setAttribute('aria-invalid', String(error?.param === 'role'))
  }

  function setBusy(busy) {
    box.readOnly = busy
    send.disabled = busy
  }

  async function submit() {
    if (box.readOnly || box.value.trim() === '') return
    setBusy(true)
    showProblem(null)
    try {
      await onSend({ message: box.value, role: roles.value })
      box.value = ''
      showProblem(null)
    } catch (error) {
      showProblem(error)
    } finally {
      setBusy(false)
      fit()
    }
  }

  function showRoles(known) {
    const chosen = roles.value
    roles.replaceChildren(new Option('No role', ''), ...known.map(({ name, description }) => {
      const option = new Option(name, name)
      option.title = description ?? ''
      return option
    }))
    roles.value = known.some(({ name }) => name === chosen) ? chosen : ''
  }

  function write(text) {
    box.value = text
    fit()
    box.focus()
  }

  box.addEventListener('input', fit)
  box.addEventListener('keydown', (event) => {
    // While an input method composes, Enter takes its suggestion (keyCode 229 where isComposing comes too late).
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return
    event.preventDefault()
    submit()
  })
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    submit()
  })
  return { showRoles, showProblem, write, focus: () => box.focus() }
}
