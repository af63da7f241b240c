import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  EMPTY_LIST, firstWordsOf, groupsOf, withFirstPage, withNextPage, withoutConversation, withTitle, wordsForList,
} from '../../api/page/conversation_list.js'
import { newConversationPages } from '../../api/page/conversation_pages.js'
import { tabTitleOf, titleOf, wordsForWatchers } from '../../api/page/page_title.js'

/** A page of conversations named by letters; `times` gives the time of each. */
const page = (times, after = null) => ({
  conversations: Object.entries(times).map(([id, updated]) => ({ conversation_id: id, updated_at: updated, title: id })), after,
})
const ids = ({ conversations }) => conversations.map(({ conversation_id: id }) => id).join('')

test('the next page goes behind the list, and what is already in it stays where it was', () => {
  const list = withNextPage(page({ a: 9, b: 8 }, '8-b'), page({ a: 9, c: 7 }, '7-c'))
  assert.deepEqual([ids(list), list.after], ['abc', '7-c'])
})

test('a first page that reaches what is known keeps the pages behind it', () => {
  const known = page({ a: 9, b: 8, c: 7, d: 6 }, '6-d')
  const list = withFirstPage(known, page({ n: 10, c: 9.5, a: 9 }, '9-a'))
  assert.deepEqual([ids(list), list.after], ['ncabd', '6-d'])
})

test('what is missing from the first page was erased', () => {
  assert.equal(ids(withFirstPage(page({ a: 9, b: 8, c: 7 }, '7-c'), page({ a: 9, c: 7 }, '7-c'))), 'ac')
  assert.equal(ids(withFirstPage(page({ a: 9, b: 8 }, '8-b'), page({ b: 8 }))), 'b')
})

test('a first page of which nothing is known as it was begins the list', () => {
  const list = withFirstPage(page({ a: 9, b: 8 }, '8-b'), page({ x: 20, a: 19 }, '19-a'))
  assert.deepEqual([ids(list), list.after], ['xa', '19-a'])
})

test('a conversation is renamed and taken out', () => {
  const list = page({ a: 9, b: 8 })
  assert.deepEqual(withTitle(list, 'b', 'New').conversations.map(({ title }) => title), ['a', 'New'])
  assert.equal(ids(withoutConversation(list, 'a')), 'b')
})

test('conversations are grouped by the days of the reader', () => {
  const now = new Date(2026, 2, 30, 0, 30).getTime()
  const at = (...date) => new Date(2026, ...date).getTime() / 1_000
  const { conversations } = page({ a: at(2, 30, 0, 1), b: at(2, 29, 23, 59), c: at(2, 29, 0, 0), d: at(2, 24), e: at(2, 1), f: at(0, 1) })
  assert.deepEqual(groupsOf(conversations, now).map(({ name, conversations: those }) => [name, ids({ conversations: those })]), [
    ['Today', 'a'], ['Yesterday', 'bc'], ['Last 7 days', 'd'], ['Last 30 days', 'e'], ['Earlier', 'f'],
  ])
})

test('the first words of a question are cut at the end of a word', () => {
  assert.equal(firstWordsOf('  What\n is  it? '), 'What is it?')
  assert.equal(firstWordsOf('word '.repeat(30)), `${'word '.repeat(11)}word…`)
  assert.equal(firstWordsOf('字'.repeat(80)), `${'字'.repeat(59)}…`)
})

test('an empty list says why it is empty', () => {
  assert.equal(wordsForList(page({ a: 1 }), ''), '')
  assert.match(wordsForList(EMPTY_LIST, ''), /appear here/)
  assert.match(wordsForList(EMPTY_LIST, 'x'), /No title/)
  assert.match(wordsForList({ conversations: [], after: 'y' }, 'x'), /yet/)
})

/** Pages whose calls the test answers. */
function asked() {
  const calls = []
  const seen = []
  const pages = newConversationPages(
    (call) => new Promise((resolve, reject) => { calls.push({ ...call, resolve, reject }) }), (now) => seen.push({ ...now }),
  )
  return { calls, seen, pages }
}
const settled = () => new Promise((resolve) => { setImmediate(resolve) })

test('one call is in flight, and many wishes behind it are one more call', async () => {
  const { calls, pages } = asked()
  for (let n = 0; n < 5; n += 1) pages.refresh()
  assert.equal(calls.length, 1)
  calls[0].resolve(page({ a: 1 }))
  await settled()
  assert.equal(calls.length, 2)
  calls[1].resolve(page({ a: 1 }))
  await settled()
  assert.equal(calls.length, 2)
})

test('an answer to an older search is not shown', async () => {
  const { calls, seen, pages } = asked()
  pages.refresh()
  pages.search('new')
  assert.ok(calls[0].signal.aborted)
  calls[1].resolve(page({ n: 2 }))
  calls[0].resolve(page({ o: 1 }))
  await settled()
  assert.deepEqual(seen.map(({ list, words }) => [ids(list), words]), [['n', 'new']])
})

test('a call that fails keeps the list and names the error', async () => {
  const { calls, seen, pages } = asked()
  pages.refresh()
  calls[0].resolve(page({ a: 1 }))
  await settled()
  pages.refresh()
  calls[1].reject(new Error('away'))
  await settled()
  assert.deepEqual([ids(seen[1].list), seen[1].error.message], ['a', 'away'])
})

test('empty pages in a row are counted, so that a search can stop', async () => {
  const { calls, seen, pages } = asked()
  pages.search('x')
  for (let n = 0; n < 2; n += 1) {
    calls[n].resolve(page({}, `${n}-x`))
    await settled()
    pages.more()
  }
  assert.deepEqual(seen.map(({ emptyInRow }) => emptyInRow), [1, 2])
  assert.equal(calls[2].after, '1-x')
})

test('the tab has the title of the server, else the first words of the first question', () => {
  const requests = [{ messages: [{ role: 'user', content: 'What is it?' }] }]
  assert.equal(titleOf([], null), null)
  assert.equal(titleOf(requests, null), 'What is it?')
  assert.equal(titleOf(requests, 'A name'), 'A name')
})

test('the tab says that an answer is typed, or that one ended while nobody looked', () => {
  assert.equal(tabTitleOf(null, { isRunning: false, isUnread: false }), 'Tickertape')
  assert.equal(tabTitleOf('T', { isRunning: true, isUnread: false }), '… T')
  assert.equal(tabTitleOf('T', { isRunning: false, isUnread: true }), '• T')
})

test('one watcher is nobody to speak of', () => {
  assert.deepEqual([0, 1, 2].map(wordsForWatchers), ['', '', '2 watching'])
})
