/** Pure: Markdown that grows, block by block. Only the last block is parsed again. No DOM here. */

import { withoutHalf, withoutMarkers } from './markdown_unfinished.js'

const LINE_END = /\r\n?|\n/g
/** A longer block is shown as plain text: the parser needs more than linear time for some texts. */
const MAX_BLOCK = 60_000

/**
 * Read one growing text with a markdown-it: `read(text, isFinal)` returns `{settled, open}`, the HTML of each block that
 * cannot change any more, and of the others. A settled block is returned once. `isStale()` says whether a definition
 * (`[a]: https://…`) came behind settled blocks, which `rewind()` then returns again.
 */
export function newBlockReader(md) {
  const references = Object.create(null)
  let offset = 0
  let headingLevel = 2
  let definitions = null // their number when the first block was settled

  function read(text, isFinal) {
    const tail = text.slice(offset)
    if (tail.length > MAX_BLOCK) return { settled: [], open: [plain(tail, md)] }
    const shown = isFinal ? tail : withoutMarkers(tail)
    const env = { references, previousLevel: headingLevel, isFinal }
    const blocks = blocksOf(md.parse(shown, env))
    if (!isFinal && blocks.length) finishInline(blocks.at(-1), md, env)
    const count = isFinal ? blocks.length : settledCount(blocks, shown)
    const htmls = blocks.map((tokens, at) => {
      const html = md.renderer.render(tokens, md.options, env)
      if (at === count - 1) headingLevel = env.previousLevel
      return html
    })
    if (count > 0) {
      offset += isFinal ? tail.length : offsetOfLine(shown, blocks[count][0].map[0])
      definitions ??= Object.keys(references).length
    }
    return { settled: htmls.slice(0, count), open: htmls.slice(count) }
  }

  return {
    read,
    isStale: () => Object.keys(references).length > (definitions ?? Infinity),
    rewind() {
      offset = 0
      headingLevel = 2
      definitions = null
    },
  }
}

/** The tokens of each block of the top level. */
function blocksOf(tokens) {
  const blocks = []
  let depth = 0
  for (const token of tokens) {
    if (depth === 0) blocks.push([])
    blocks.at(-1).push(token)
    depth += token.nesting
  }
  return blocks
}

/** A block is settled when the next one has begun with a whole line: half a line may turn into more of the block before. */
function settledCount(blocks, text) {
  const wholeLines = text.match(LINE_END)?.length ?? 0
  const last = blocks.findLastIndex((tokens) => tokens[0].map[0] < wholeLines)
  return Math.max(0, last)
}

function offsetOfLine(text, line) {
  let count = 0
  for (const { index, 0: end } of text.matchAll(LINE_END)) {
    count += 1
    if (count === line) return index + end.length
  }
  return 0
}

/** Parse the end of the text again, as if what is half written there were finished or not there yet. */
function finishInline(tokens, md, env) {
  const token = tokens.findLast(({ type }) => type === 'inline')
  const isLast = tokens.slice(tokens.indexOf(token) + 1).every(({ nesting }) => nesting < 0)
  const content = token && isLast ? withoutHalf(token.content) : token?.content
  if (!token || content === token.content) return
  token.children = []
  md.inline.parse(content, md, env, token.children)
}

const plain = (text, md) => `<p class="plain">${md.utils.escapeHtml(text)}</p>`
