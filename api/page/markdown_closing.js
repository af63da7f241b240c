/** Pure: the end of Markdown that left something open, so that what follows in the same file is not swallowed. */

/**
 * HTML that lasts to its own end, over blank lines, and how it ends.
 * https://spec.commonmark.org/0.31.2/#html-blocks, kinds 1 to 5
 */
const HTML = [
  {
    begin: /^ {0,3}<(script|pre|style|textarea)(?=[\s>]|$)/i, end: /<\/(?:script|pre|style|textarea)>/i,
    mark: (tag) => `</${tag.toLowerCase()}>`,
  },
  { begin: /^ {0,3}<!--/, end: /-->/, mark: () => '-->' },
  { begin: /^ {0,3}<\?/, end: /\?>/, mark: () => '?>' },
  { begin: /^ {0,3}<![a-z]/i, end: />/, mark: () => '>' },
  { begin: /^ {0,3}<!\[CDATA\[/, end: /\]\]>/, mark: () => ']]>' },
]
const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/

/** The text, with the end of the code or the HTML that it left open: an answer may have been cut off anywhere. */
export function closedMarkdown(text) {
  let open = null
  for (const line of text.split(/\r\n|\n|\r/)) {
    if (!open) open = opened(line)
    else if (open.isEnd(line)) open = null
  }
  if (!open) return text
  return `${text}${/[\n\r]$/.test(text) ? '' : '\n'}${open.mark}`
}

/** What a line leaves open: `{mark, isEnd(line)}`, or null. */
function opened(line) {
  const [, fence, rest] = FENCE.exec(line) ?? []
  if (fence && (fence[0] === '~' || !rest.includes('`'))) return { mark: fence, isEnd: (other) => isEndOf(fence, other) }
  const html = HTML.find(({ begin }) => begin.test(line))
  if (!html) return null
  const [whole, tag] = html.begin.exec(line)
  if (html.end.test(line.slice(whole.length))) return null
  return { mark: html.mark(tag), isEnd: (other) => html.end.test(other) }
}

function isEndOf(fence, line) {
  const [, other, rest] = FENCE.exec(line) ?? []
  return Boolean(other) && other[0] === fence[0] && other.length >= fence.length && rest.trim() === ''
}
