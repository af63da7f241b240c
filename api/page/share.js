/** The menu that passes a conversation on: as a link for those with a key, as a link that only reads, or as a file. */

import { issueTicket, revokeTickets } from './client/v1/client.js'
import { fileNameOf, jsonOf, markdownOf } from './export.js'
import { newMenu } from './menu.js'

const SHOWN_MS = 2_000
const LINK_S = 7 * 86_400

/**
 * `conversation()` gives `{conversationId, title, requests, visible}` at the time of the choice, and `options()` those of a
 * call. Where nobody needs a key, `canIssue()` is false: there every link can be used for everything.
 */
export function newShare({ button, menu, said }, conversation, { options, canIssue }) {
  const label = button.querySelector('.label')
  const name = label.textContent
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
    say(await copied(location.href) ? 'Copied' : 'Copy the address bar')
  }

  const copied = (text) => navigator.clipboard?.writeText(text).then(() => true, () => false)

  /** The ticket stands behind the `#`, so that no server and no proxy on the way logs it. */
  async function copyReadOnly() {
    try {
      const { ticket } = await issueTicket(conversation().conversationId, { ...options(), rights: 'read', ttlS: LINK_S })
      const link = new URL(location.href)
      link.hash = new URLSearchParams({ ticket })
      if (!await copied(link.href)) throw new Error('no clipboard')
      say('Copied for a week')
    } catch {
      say('Not copied')
    }
  }

  async function stopReadOnly() {
    try {
      await revokeTickets(conversation().conversationId, options())
      say('Links stopped')
    } catch {
      say('Not stopped')
    }
  }

  function save(extension, type, text) {
    const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }))
    Object.assign(document.createElement('a'), { href: address, download: fileNameOf(conversation().title, extension) }).click()
    setTimeout(() => URL.revokeObjectURL(address), SHOWN_MS)
    say('Saved')
  }

  const on = (id, action) => menu.querySelector(id).addEventListener('click', action)
  const ofTickets = ['#copy-read-only', '#stop-read-only'].map((id) => menu.querySelector(id))
  const showOwn = () => ofTickets.forEach((item) => { item.hidden = !canIssue() })
  for (const kind of ['click', 'keydown']) button.addEventListener(kind, showOwn, { capture: true })
  newMenu(button, menu)
  on('#copy', copyLink)
  on('#copy-read-only', copyReadOnly)
  on('#stop-read-only', stopReadOnly)
  on('#save-markdown', () => {
    const { visible, title } = conversation()
    save('md', 'text/markdown', markdownOf(visible, title))
  })
  on('#save-json', () => {
    const { requests, conversationId, title } = conversation()
    save('json', 'application/json', jsonOf(requests, { conversationId, title, exportedAt: new Date().toISOString() }))
  })
}
