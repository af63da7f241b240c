/** Pure: the list of conversations, its pages, its groups by day, and the words in it. */

/** `after` null: the list is whole. */
export const EMPTY_LIST = { conversations: [], after: null }

/** The list with the page behind its end. Something that was asked meanwhile may be on both: it stays where it was. */
export function withNextPage(list, page) {
  const known = new Set(list.conversations.map(({ conversation_id: id }) => id))
  const added = page.conversations.filter(({ conversation_id: id }) => !known.has(id))
  return { conversations: [...list.conversations, ...added], after: page.after }
}

/**
 * The list with its first page as it is now. The pages behind it stay if one conversation is on both as it was: then
 * nothing is missing in between. Otherwise, more than a page has changed, and the list begins with this page.
 */
export function withFirstPage(list, page) {
  const last = page.conversations.at(-1)
  if (!page.after || !last) return page
  const times = new Map(list.conversations.map((one) => [one.conversation_id, one.updated_at]))
  if (!page.conversations.some((one) => times.get(one.conversation_id) === one.updated_at)) return page
  const onPage = new Set(page.conversations.map(({ conversation_id: id }) => id))
  const behind = list.conversations.filter((one) => one.updated_at <= last.updated_at && !onPage.has(one.conversation_id))
  if (behind.length === 0) return page
  return { conversations: [...page.conversations, ...behind], after: list.after }
}

/** The list without a conversation. */
export const withoutConversation = (list, conversationId) => ({
  ...list, conversations: list.conversations.filter(({ conversation_id: id }) => id !== conversationId),
})

/** The list with another title for one conversation. */
export const withTitle = (list, conversationId, title) => ({
  ...list,
  conversations: list.conversations.map((one) => (one.conversation_id === conversationId ? { ...one, title } : one)),
})

/** The conversations by the day of their latest request, in the reader's time zone: `[{name, conversations}]`. */
export function groupsOf(conversations, nowMs) {
  const groups = []
  for (const conversation of conversations) {
    const name = dayOf(conversation.updated_at * 1_000, nowMs)
    if (groups.at(-1)?.name !== name) groups.push({ name, conversations: [] })
    groups.at(-1).conversations.push(conversation)
  }
  return groups
}

function dayOf(ms, nowMs) {
  const midnight = (daysAgo) => {
    const date = new Date(nowMs)
    return new Date(date.getFullYear(), date.getMonth(), date.getDate() - daysAgo).getTime()
  }
  if (ms >= midnight(0)) return 'Today'
  if (ms >= midnight(1)) return 'Yesterday'
  if (ms >= midnight(7)) return 'Last 7 days'
  return ms >= midnight(30) ? 'Last 30 days' : 'Earlier'
}

/** The title of a conversation in the list; one without words has none. */
export const nameOf = ({ title }) => title || 'Untitled'

const TITLE_CHARS = 60

/** The first words of a question, as the server cuts them for a title. */
export function firstWordsOf(question) {
  const words = question.slice(0, 2_000).split(/\s+/u).filter(Boolean).join(' ')
  if (words.length <= TITLE_CHARS) return words
  const end = words.lastIndexOf(' ', TITLE_CHARS - 1)
  return `${words.slice(0, end > 0 ? end : TITLE_CHARS - 1)}…`
}

/** One line about a list in which nothing can be seen; empty if the list says it all. */
export function wordsForList({ conversations, after }, words) {
  if (conversations.length > 0) return ''
  if (after) return 'Nothing found yet.'
  return words ? 'No title has these words.' : 'Conversations appear here once a question was asked.'
}
