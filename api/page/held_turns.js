/** What a page needs of a conversation before its stream has come: what the list shows of it, and the turns that wait. */

import { readConversation } from './client/v1/client.js'

const PAGE_TURNS = 20

/**
 * Resolves to `{summary, waiting}`: `waiting` are the turns behind the active one, which the stream comes to later. Turns
 * before the active one are not read, because their attachments come with the stream already.
 */
export async function readHeld(conversationId, options) {
  const { turns: newest, before: first, ...summary } = await readConversation(conversationId, { ...options, limit: 1 })
  const { active_request_id: active } = summary
  let [turns, before] = [newest, first]
  const indexOfActive = () => turns.findIndex((turn) => turn.request_id === active)
  while (active && indexOfActive() < 0 && before) {
    const page = await readConversation(conversationId, { ...options, limit: PAGE_TURNS, before })
    turns = [...page.turns, ...turns]
    before = page.before
  }
  return { summary, waiting: indexOfActive() < 0 ? [] : turns.slice(indexOfActive() + 1) }
}
