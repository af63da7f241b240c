/** One request of the conversation as DOM. Words enter it as text nodes, and the answer as sanitised Markdown. */

import { newActions } from './actions.js'
import { isOver } from './client/v1/client.js'
import { attachmentView } from './attachment_view.js'
import { attachedParts, attachmentOf } from './attachments.js'
import { newMarkdownView } from './markdown.js'
import { newStepsView } from './steps_view.js'
import { questionOf, wordsForRequest } from './words.js'

/**
 * A list item that shows a request: `{element, show(request, siblings), focusSwitch(step), remove()}`. `actions` has `stop(request)`,
 * `askAgain(request)` and the `commands` of the buttons.
 */
export function newRequestView(actions) {
  const element = document.getElementById('request').content.firstElementChild.cloneNode(true)
  const part = (selector) => element.querySelector(selector)
  const parts = {
    question: part('.question'), asked: typed(part('.question .text')), attached: part('.attached'), role: part('.question .role'),
    answer: part('.answer'), text: newMarkdownView(part('.answer > .text')), refusal: part('.refusal'),
    steps: newStepsView(part('.calls'), part('.data')),
    reasoning: part('.reasoning'), reasoned: typed(part('.reasoning .text')), note: part('.note'),
    cancel: part('.cancel'), again: part('.again'),
  }
  const rows = newActions(parts, actions.commands)
  let shown
  parts.cancel.addEventListener('click', () => actions.stop(shown))
  parts.again.addEventListener('click', () => actions.askAgain(shown))
  return {
    element,
    focusSwitch: rows.focusSwitch,
    remove() {
      rows.leave()
      element.remove()
    },
    show(request, siblings) {
      if (shown?.messages !== request.messages) showAttachments(parts, request)
      shown = request
      showQuestion(parts, request)
      showAnswer(parts, request)
      rows.show(request, siblings)
    },
  }
}

/** Show `text` in an element. Text that only grew is appended, so that a delta does not lay out the whole answer again. */
function typed(element) {
  const node = element.appendChild(document.createTextNode(''))
  return (text) => {
    if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length))
    else node.data = text
  }
}

function showQuestion(parts, request) {
  const question = questionOf(request)
  parts.asked(question)
  parts.role.textContent = request.role ?? ''
  parts.question.hidden = question === '' && parts.attached.hidden
}

function showAttachments({ attached }, { messages }) {
  attached.replaceChildren(...attachedParts(messages).map((part) => attachmentView(attachmentOf(part))))
  attached.hidden = !attached.hasChildNodes()
}

function showAnswer(parts, request) {
  const { answer, refusal, reasoning, note, cancel, again } = parts
  const over = isOver(request)
  answer.dataset.status = request.status
  answer.setAttribute('aria-busy', String(!over))
  parts.text.show(request.text, { isFinal: over })
  parts.reasoned(request.reasoning)
  reasoning.hidden = request.reasoning === ''
  refusal.textContent = request.refusal
  refusal.hidden = request.refusal === ''
  parts.steps(request)
  note.textContent = wordsForRequest(request, Date.now())
  cancel.hidden = request.status !== 'queued'
  again.hidden = !request.error?.retryable
}
