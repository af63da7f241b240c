/** The box in which a question or a command is written, its role, and its Send button. */

import { newChoiceFields } from './choice_fields.js'
import { parseCommand } from './command_line.js'
import { newCompletion } from './completion.js'
import { newRecall } from './recall.js'
import { wordsForCommand, wordsForError } from './words.js'

/** Without a mouse or a real keyboard, Enter is the only key that can start a line. */
const isPhone = matchMedia('(hover: none) and (pointer: coarse)').matches
/** The style sheet then sets the height of the box, which costs no layout of its own at each key. */
const fitsItself = CSS.supports('field-sizing', 'content')

/**
 * A composer on `form`. `onSend({message, ...choices})` sends a question and `onCommand(command)` runs a command; the box
 * is emptied when the promise resolves, and keeps its text when the promise rejects. `resize(change)` runs what changes
 * the height of the box, `questions()` gives what the arrow keys recall, `completionsOf(text)` what Tab offers. `kept` has
 * the draft and the choices of this conversation. With `hasFiles()` an empty box is sent as well.
 * `onChoices(choices)` gets the choices for the next question whenever they are shown.
 */
export function newComposer(form, { onSend, onCommand, resize, questions, completionsOf, kept, hasFiles = () => false, onChoices = () => {} }) {
  const [box, send] = [form.elements.message, form.querySelector('#send')]
  const [problem, hint] = [document.getElementById('problem'), form.querySelector('#hint')]
  const usualHint = [...(isPhone ? [] : hint.childNodes)]
  const roles = form.elements.role
  let hinted
  let ofConversation = { role: null, variables: {}, model: null, temperature: null }
  const fields = newChoiceFields(
    { roles, variables: form.querySelector('#variables') }, choose,
  )
  const completion = newCompletion(box, form.querySelector('#completions'), completionsOf, changed)
  const recall = newRecall(questions)

  function fit() {
    if (fitsItself) return
    resize(() => {
      box.style.height = 'auto'
      box.style.height = `${box.scrollHeight}px`
    })
  }

  function changed() {
    kept.set('draft', box.value)
    showHint(wordsForCommand(parseCommand(box.value)))
    fit()
  }

  function showHint(words) {
    if (words === hinted) return
    hinted = words
    hint.classList.toggle('command', words !== '')
    hint.replaceChildren(...(words ? [words] : usualHint))
  }

  function setText(text) {
    box.value = text
    completion.close()
    changed()
  }

  function choose(some) {
    kept.set('choices', { ...kept.get('choices'), ...some })
    showChoices(ofConversation)
  }

  function showChoices(choices) {
    ofConversation = choices
    const shown = { ...choices, ...kept.get('choices') }
    fields.show(shown)
    onChoices(shown)
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

  /** The choices are the conversation's own after a question, except a role of one's own, which the server does not know. */
  async function sendQuestion() {
    const { own, ...choices } = fields.read()
    await onSend({ message: box.value, ...choices, own })
    kept.set('choices', own ? kept.get('choices') : null)
  }

  async function submit() {
    if (box.readOnly || (box.value.trim() === '' && !hasFiles())) return
    const command = parseCommand(box.value)
    setBusy(true)
    showProblem(null)
    try {
      await (command ? onCommand(command) : sendQuestion())
      setText('')
      showProblem(null)
    } catch (error) {
      showProblem(error)
    } finally {
      setBusy(false)
      fit()
    }
  }

  function press(event) {
    // While an input method composes, Enter takes its suggestion (keyCode 229 where isComposing comes too late).
    if (event.isComposing || event.keyCode === 229 || completion.press(event)) return
    if (event.key === 'Enter' && !event.shiftKey && (!isPhone || event.ctrlKey || event.metaKey)) {
      event.preventDefault()
      submit()
    }
    const walk = { ArrowUp: recall.up, ArrowDown: recall.down }[event.key]
    const text = walk && !event.shiftKey ? walk(box.value) : null
    if (text === null) return
    event.preventDefault()
    setText(text)
  }

  box.value = kept.get('draft') ?? ''
  if (isPhone) box.enterKeyHint = 'enter'
  changed()
  showChoices(ofConversation)
  box.addEventListener('input', () => {
    changed()
    completion.update()
  })
  box.addEventListener('blur', completion.close)
  box.addEventListener('keydown', press)
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    submit()
  })
  return {
    setRoles: fields.setRoles, showChoices, choose, showProblem, focus: () => box.focus(),
    write(text) {
      setText(text)
      box.focus()
    },
    /** Put a text behind what a person has written, so that neither is lost. */
    add(text) {
      setText([box.value.trimEnd(), text].filter(Boolean).join('\n\n'))
      box.focus()
    },
  }
}
