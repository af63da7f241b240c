/** The attachments of the next question: chosen, pasted or dropped, and shown over the box until they are sent. */

import { readPart } from './attachment_reading.js'
import { attachmentView } from './attachment_view.js'
import { attachmentOf, problemOf, safeName, sizeOf, wordsForBytes, MOST_BYTES } from './attachments.js'
import { newIconButton } from './icons.js'

/**
 * Attachments in `list`. `onProblem(error)` gets why a file was refused, or null when files were added; `onChange(words)` is
 * called after the list changed, and `focus()` takes the focus of a button that disappears.
 */
export function newAttachmentList(list, { onProblem, onChange, focus }) {
  let items = []

  function add(files) {
    onProblem(null)
    for (const file of files) {
      const problem = problemOf(file, items.length)
      if (problem) return onProblem(new Error(problem))
      const item = { name: safeName(file.name), part: null }
      item.element = viewOf(item, { kind: 'other', name: item.name, bytes: file.size })
      item.element.setAttribute('aria-busy', 'true')
      items = [...items, item]
      list.append(item.element)
      item.reading = read(item, file)
    }
    changed('')
  }

  async function read(item, file) {
    try {
      const part = await readPart(file)
      if (!items.includes(item)) return
      const bytes = items.reduce((sum, other) => sum + (other.part ? sizeOf(other.part) : 0), sizeOf(part))
      if (bytes > MOST_BYTES) {
        throw new Error(`${item.name} was not attached. All files together would take ${wordsForBytes(bytes)} of ${wordsForBytes(MOST_BYTES)}.`)
      }
      item.part = part
      const view = viewOf(item, { ...attachmentOf(part), name: item.name })
      item.element.replaceWith(view)
      item.element = view
      changed(`${item.name} is attached.`)
    } catch (error) {
      item.problem = error
      remove([item])
      onProblem(error)
    }
  }

  function viewOf(item, attachment) {
    const view = attachmentView(attachment)
    view.append(newIconButton('remove', `Remove ${item.name}`, () => {
      const next = view.nextElementSibling ?? view.previousElementSibling
      remove([item], `${item.name} was removed.`)
      if (next) next.querySelector('button').focus()
      else focus()
    }))
    return view
  }

  function remove(some, words = '') {
    items = items.filter((item) => !some.includes(item))
    for (const { element } of some) element.remove()
    changed(words)
  }

  function changed(words) {
    list.hidden = items.length === 0
    onChange(words)
  }

  return {
    add, remove, isEmpty: () => items.length === 0,
    /** The attachments, once all of them have been read. Rejects if one of them cannot be read. */
    async read() {
      const wanted = items
      await Promise.all(wanted.map(({ reading }) => reading))
      const { problem } = wanted.find((item) => item.problem) ?? {}
      if (problem) throw problem
      return wanted.filter((item) => items.includes(item))
    },
  }
}
