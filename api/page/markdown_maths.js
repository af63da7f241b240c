/** Pure: the Markdown rules for maths: `$a$`, `$$a$$`, `\(a\)`, `\[a\]`, and fences of `math`. */

/** Longer formulas stay text. The bound keeps the search for an end that is missing linear. */
const MAX_INLINE = 2_000
const MAX_BLOCK = 10_000
const MAX_DOLLARS = 8
const PAIRS = [['$$', '$$', true], ['\\[', '\\]', true], ['\\(', '\\)', false]]

/**
 * Add the rules to a markdown-it. `maths(source, isDisplay)` returns MathML, or null for a formula that is shown as its source.
 */
export function addMathsRules(md, maths) {
  const { escapeHtml } = md.utils
  const draw = (source, isDisplay) => {
    const body = maths(source, isDisplay) ?? `<code class="source">${escapeHtml(source)}</code>`
    return isDisplay ? `<span class="maths display" tabindex="0" role="group" aria-label="Formula" dir="ltr">${body}</span>` : `<span class="maths" dir="ltr">${body}</span>`
  }
  md.inline.ruler.before('escape', 'maths', inlineMaths)
  md.block.ruler.before('fence', 'maths', blockMaths, { alt: ['paragraph', 'reference', 'blockquote', 'list'] })
  md.renderer.rules.maths_inline = (tokens, at) => draw(tokens[at].content, tokens[at].meta.isDisplay)
  md.renderer.rules.maths_block = (tokens, at) => `<div class="formula">${draw(tokens[at].content, true)}</div>`
  const { fence } = md.renderer.rules
  md.renderer.rules.fence = (tokens, at, ...rest) => {
    const isMaths = tokens[at].info.trim() === 'math'
    return isMaths ? md.renderer.rules.maths_block(tokens, at) : fence(tokens, at, ...rest)
  }
}

function inlineMaths(state, silent) {
  const pair = PAIRS.find(([open]) => state.src.startsWith(open, state.pos))
  const found = pair ? delimited(state, pair) : dollars(state)
  if (!found) return false
  if (!silent) {
    const token = state.push('maths_inline', 'math', 0)
    token.content = found.content
    token.meta = { isDisplay: found.isDisplay }
  }
  state.pos = found.end
  return true
}

function delimited({ src, pos }, [open, close, isDisplay]) {
  const from = pos + open.length
  const length = src.slice(from, from + MAX_INLINE).indexOf(close)
  const content = src.slice(from, from + length).trim()
  return length < 0 || !content ? null : { content, isDisplay, end: from + length + close.length }
}

/** `$5 and $10` is about money: a formula has no space inside its dollars, and no digit behind them. */
function dollars({ src, pos }) {
  if (src[pos] !== '$' || /\s/u.test(src[pos + 1] ?? ' ')) return null
  let at = pos
  for (let tried = 0; tried < MAX_DOLLARS; tried += 1) {
    at = endOf(src, at + 1, pos + MAX_INLINE)
    if (at < 0 || at === pos + 1) return null
    if (/\s/u.test(src[at - 1]) || /\d/u.test(src[at + 1] ?? '')) continue
    return { content: src.slice(pos + 1, at), isDisplay: false, end: at + 1 }
  }
  return null
}

/** The next dollar that no backslash escapes, before `limit`; -1 without one. */
function endOf(src, from, limit) {
  for (let at = from; at < Math.min(src.length, limit); at += 1) {
    if (src[at] === '\\') at += 1
    else if (src[at] === '$') return at
  }
  return -1
}

/** A formula that begins a line, over several lines. One without an end is a formula while the answer is being written. */
function blockMaths(state, startLine, endLine, silent) {
  const start = state.bMarks[startLine] + state.tShift[startLine]
  const pair = PAIRS.find(([open, , isDisplay]) => isDisplay && state.src.startsWith(open, start))
  if (!pair || state.sCount[startLine] - state.blkIndent >= 4) return false
  const [open, close] = pair
  const found = blockEnd(state, startLine, endLine, { start: start + open.length, close })
  if (!found) return false
  if (silent) return true
  const token = state.push('maths_block', 'math', 0)
  token.block = true
  token.content = found.content
  token.map = [startLine, found.line]
  state.line = found.line
  return true
}

function blockEnd(state, startLine, endLine, { start, close }) {
  // Where an end was sought in vain, later lines do not seek it again.
  state.seeksNoMaths ??= {}
  if (start < (state.seeksNoMaths[close] ?? 0)) return null
  for (let line = startLine; line < endLine; line += 1) {
    const [from, to] = [line === startLine ? start : state.bMarks[line], state.eMarks[line]]
    const at = state.src.slice(from, to).indexOf(close)
    if (at >= 0) {
      // Words behind the end make it a formula in a paragraph.
      const content = state.src.slice(start, from + at).trim()
      return state.src.slice(from + at + close.length, to).trim() || !content ? null : { content, line: line + 1 }
    }
    if (to - start > MAX_BLOCK) {
      state.seeksNoMaths[close] = to
      return null
    }
  }
  state.seeksNoMaths[close] = state.eMarks[endLine - 1]
  const rest = state.src.slice(start, state.eMarks[endLine - 1]).trim()
  return state.env.isFinal || /^\w+ \w+ /u.test(rest) ? null : { content: rest, line: endLine }
}
