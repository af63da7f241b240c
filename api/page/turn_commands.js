/** What the buttons of a turn do: another answer, another question, another branch, and the end of a turn. */

import { attachedParts, contentOf, lastOfUser } from './attachments.js'
import { askToConfirm } from './confirmation.js'

/**
 * `page` has `branch`, `transcript()`, `send(fields, known)`, `erase(requestId)`, `draw()`, `announce(words)`,
 * `showProblem(error)` and `keepText(text)`. No command rejects but `edit`, whose form keeps the text.
 */
export function newTurnCommands(page) {
  /** Ask beside `request`: with the same parent and the same options, so the old answer stays reachable. */
  async function askBeside(request, messages) {
    const { role, parentId } = request
    const { variables = {}, model = null, temperature = null } = request.options ?? request.chosen ?? {}
    const options = { ...(role && { role, variables }), ...(model && { model }), ...(temperature !== null && { temperature }) }
    await page.send({ messages, parent_id: parentId, ...options }, { role, chosen: { variables, model, temperature } })
  }

  return {
    announce: page.announce,
    async regenerate(request) {
      try {
        await askBeside(request, request.messages)
      } catch (error) {
        page.showProblem(error)
      }
    },
    /** Stay on a turn while its question is edited, also if somebody else asks beside it. */
    hold: ({ requestId }) => page.branch.goTo(requestId, { isHeld: true }),
    async edit(request, text) {
      try {
        await askBeside(request, withQuestion(request.messages, text))
      } catch (error) {
        page.showProblem(error)
        throw error
      }
    },
    keepText(text) {
      page.keepText(text)
      page.showProblem({ message: 'The question that you edited is not here any more. Your text is in this box.' })
    },
    async erase(request) {
      const isConfirmed = await askToConfirm({
        title: 'Delete this question and its answer?',
        text: 'They are erased for everyone who has the link. What was asked after them stays.',
        action: 'Delete',
      })
      if (!isConfirmed) return
      try {
        await page.erase(request.requestId)
        page.announce('Deleted.')
      } catch (error) {
        page.showProblem(error)
      }
    },
    goTo(request, step) {
      page.branch.goTo(request.requestId)
      page.draw()
      const siblings = page.branch.siblings().get(request.requestId)
      page.announce(`Branch ${siblings.indexOf(request) + 1} of ${siblings.length}.`)
      page.transcript().focusSwitch(request.requestId, step)
    },
  }
}

/** Pure: the messages with another text of the question. A role of one's own before it, and files beside it, stay. */
export function withQuestion(messages, text) {
  const before = messages.slice(0, messages.length - lastOfUser(messages).length)
  return [...before, { role: 'user', content: contentOf(text, attachedParts(messages)) }]
}
