/** The rows of buttons under a question and under its answer. */

import { isOver } from './client/v1/client.js'
import { copyText } from './copying.js'
import { editQuestion } from './edit_question.js'
import { newIcon, newIconButton } from './icons.js'
import { questionOf } from './words.js'

const COPIED_MS = 2_000

/**
 * The rows for one request. `question` and `answer` are the elements to put them into. `commands` has `announce(words)`,
 * `hold(request)`, `regenerate(request)`, `edit(request, text)`, `erase(request)`, `goTo(request)` and
 * `keepText(text)`, for an edited question that goes. Returns `show(request, siblings)`, and `leave()` for the end of the request.
 */
export function newActions({ question, answer }, commands) {
  let request
  let siblings = []
  const copyQuestion = newCopyButton('Copy question', () => questionOf(request), commands)
  let form = null
  const edit = newIconButton('edit', 'Edit question', () => {
    commands.hold(request)
    question.classList.add('editing')
    form = editQuestion(question.querySelector('.text'), questionOf(request), {
      onSave: (text) => commands.edit(request, text),
      onLost: commands.keepText,
      onClose() {
        form = null
        question.classList.remove('editing')
        if (edit.isConnected) edit.focus()
      },
    })
  })
  const questionRow = newRow(copyQuestion, edit)
  question.after(questionRow)
  const copyAnswer = newCopyButton('Copy answer', () => request.text || request.refusal, commands)
  const regenerate = newIconButton('again', 'Regenerate answer', () => commands.regenerate(request))
  const erase = newIconButton('erase', 'Delete question and answer', () => commands.erase(request))
  const branches = newSwitch((step) => commands.goTo(siblings[siblings.indexOf(request) + step], step))
  const answerRow = newRow(branches.element, copyAnswer, regenerate, erase)
  answer.append(answerRow)

  return {
    show(now, among) {
      [request, siblings] = [now, among]
      const over = isOver(request)
      for (const button of [regenerate, erase]) button.hidden = !over
      for (const button of [copyQuestion, edit]) button.hidden = !over || questionOf(request) === ''
      copyAnswer.hidden = !over || (request.text || request.refusal) === ''
      branches.show(siblings.indexOf(request), siblings)
      // Siblings with other questions were edited: their switch belongs to the question.
      const isEdited = siblings.some((other) => questionOf(other) !== questionOf(request))
      const place = isEdited ? questionRow : answerRow
      if (branches.element.parentNode !== place) place.prepend(branches.element)
    },
    focusSwitch: branches.focus,
    leave: () => form?.leave(),
  }
}

function newRow(...buttons) {
  const row = document.createElement('div')
  row.className = 'turn-actions'
  row.append(...buttons)
  return row
}

/** A button that copies what `text()` gives, and says so. */
function newCopyButton(label, text, { announce }) {
  const button = newIconButton('copy', label, async () => {
    const isCopied = await copyText(text())
    announce(isCopied ? 'Copied.' : 'The browser did not permit the copy.')
    if (!isCopied) return
    button.replaceChildren(newIcon('check'))
    button.title = 'Copied'
    setTimeout(() => {
      button.replaceChildren(newIcon('copy'))
      button.title = label
    }, COPIED_MS)
  })
  return button
}

/** The switch between siblings, ‹ 2 / 3 ›. At either end a button stays focusable, so that the keyboard is not lost. */
function newSwitch(onStep) {
  const element = document.createElement('div')
  element.className = 'branches'
  element.setAttribute('role', 'group')
  element.setAttribute('aria-label', 'Branches')
  const step = (by) => ({ currentTarget }) => currentTarget.getAttribute('aria-disabled') === 'true' || onStep(by)
  const earlier = newIconButton('earlier', 'Earlier branch', step(-1))
  const later = newIconButton('later', 'Later branch', step(1))
  const count = document.createElement('span')
  element.append(earlier, count, later)
  return {
    element,
    show(index, siblings) {
      element.hidden = siblings.length < 2
      count.textContent = `${index + 1} / ${siblings.length}`
      earlier.setAttribute('aria-disabled', String(index <= 0))
      later.setAttribute('aria-disabled', String(index >= siblings.length - 1))
    },
    focus: (by) => (by < 0 ? earlier : later).focus({ preventScroll: true }),
  }
}
