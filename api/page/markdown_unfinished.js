/** Pure: what is hidden or completed at the end of Markdown that is still being written, so that it does not flicker. */

/** Characters at the start of a line that mean nothing yet: half a fence, a list's marker, a heading's signs. */
const MARKERS = /(?:^|\n)[ \t]{0,12}(?:>[ \t]?)*(?:[`~]{1,3}|[-*_+=#]{1,6}|\d{1,9}[.)]?|\${1,2}|\\[[(]?)[ \t]*$/
const ROW = /^[ \t]*\|/
const HALF_RULE = /^[ \t]*\|?[-:| \t]*$/
const HALF_LINK = /!?\[([^[\]\n]{0,300})\]\([^()\s]{0,1900}$/
/** What is longer than this is not searched. */
const MAX_SEARCHED = 3_000

/** `text` without its last line if that line has only markers so far, and without the head of a table that has no rows yet. */
export function withoutMarkers(text) {
  const end = text.slice(-MAX_SEARCHED)
  const hidden = hiddenHead(end.split('\n')) ?? MARKERS.exec(end.slice(-40))?.[0].replace(/^\n/, '') ?? ''
  return text.slice(0, text.length - hidden.length)
}

/** The head of a table at the end of these lines, before the whole line that makes it one; null without one. */
function hiddenHead(lines) {
  const [last, head = '', before = ''] = lines.slice(-3).reverse()
  if (ROW.test(head) && !ROW.test(before) && HALF_RULE.test(last)) return `${head}\n${last}`
  return ROW.test(last) && !ROW.test(head) ? last : null
}

/** The text of a paragraph without half a link, and with an end for bold text and for code that have none yet. */
export function withoutHalf(text) {
  if (text.length > MAX_SEARCHED) return text
  const linked = text.replace(HALF_LINK, '$1')
  if ((linked.match(/(?<!\\)`+/g) ?? []).length % 2 === 1) return closed(linked, linked.match(/`+/g).at(-1))
  const outside = linked.replace(/`+[^`]*`+/g, '')
  if ((outside.match(/\*\*/g) ?? []).length % 2 === 1) return closed(linked.replace(/(?<=[^*\s])\*$/, ''), '**')
  return linked
}

/** With the missing `mark` at the end; a mark that only just began is hidden. */
function closed(text, mark) {
  const trimmed = text.trimEnd()
  return trimmed.endsWith(mark) ? trimmed.slice(0, -mark.length) : trimmed + mark
}
