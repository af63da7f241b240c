/** The part of the list of conversations that is loaded. One call is in flight at most. No DOM here. */

import { EMPTY_LIST, withFirstPage, withNextPage } from './conversation_list.js'

/**
 * `readPage({words, after, signal})` asks the server; `onChange(pages)` hears of each change. `pages.list` is what is
 * loaded, `words` what is searched for, `isLoaded` whether the server has answered, `error` why the last call failed, `emptyInRow`
 * how many pages in a row brought nothing.
 */
export function newConversationPages(readPage, onChange, list = EMPTY_LIST) {
  const pages = { list, words: '', isLoaded: false, error: null, emptyInRow: 0 }
  let call = null
  let isStale = false

  async function read(after, joined) {
    const mine = new AbortController()
    call = mine
    const { signal } = mine
    const answer = await readPage({ words: pages.words, after, signal }).then((page) => ({ page }), (error) => ({ error }))
    if (signal.aborted) return
    call = null
    pages.error = answer.error ?? null
    if (answer.page) {
      const emptyInRow = answer.page.conversations.length > 0 ? 0 : pages.emptyInRow + 1
      Object.assign(pages, { list: joined(pages.list, answer.page), isLoaded: true, emptyInRow })
    }
    onChange(pages)
    if (!isStale) return
    isStale = false
    refresh()
  }

  /** Read the first page. Calls that come while one is in flight are one more call behind it. */
  function refresh() {
    if (call) isStale = true
    else read(null, withFirstPage)
  }

  return {
    refresh,
    more() {
      if (!call && pages.list.after) read(pages.list.after, withNextPage)
    },
    search(words) {
      if (words === pages.words) return
      call?.abort()
      isStale = false
      Object.assign(pages, { words, list: EMPTY_LIST, isLoaded: false, emptyInRow: 0 })
      read(null, withFirstPage)
    },
    /** Change the list as `changed(list)` says, before the server's next page does. */
    change(changed) {
      pages.list = changed(pages.list)
      onChange(pages)
    },
  }
}
