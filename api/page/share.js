/** The menu that passes a conversation on: as a link, or as a file. */

import { fileNameOf, jsonOf, markdownOf } from './export.js'
import { newMenu } from './menu.js'

const SHOWN_MS = 2_000

/** `conversation()` gives `{conversationId, title, requests, visible}` at the time of the choice. */
export function newShare({ button, menu, said }, conversation) {
  const label = button.querySelector('.label')
  const name = label.textContent
  newMenu(button, menu)

  function say(words) {
    label.textContent = words
    button.classList.add('says')
    said.textContent = words
    setTimeout(() => {
      label.textContent = name
      button.classList.remove('says')
    }, SHOWN_MS)
  }

  async function copyLink() {
    const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false)
    say(copied ? 'Copied' : 'Copy the address bar')
  }

  function save(extension, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }))
    Object.assign(document.createElement('a'), { href: address, download: fileNameOf(conversation().title, extension) }).click()
    setTimeout(() => URL.revokeObjectURL(address), SHOWN_MS)
    say('Saved')
  }

  const on = (id, action) => menu.querySelector(id).addEventListener('click', action)
  on('#copy', copyLink)
  on('#save-markdown', () => {
    const { visible, title } = conversation()
    save('md', 'text/markdown', markdownOf(visible, title))
  })
  on('#save-json', () => {
    const { requests, conversationId, title } = conversation()
    save('json', 'application/json', jsonOf(requests, { conversationId, title, exportedAt: new Date().toISOString() }))
  })
}
