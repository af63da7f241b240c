/** Pure: Markdown to HTML by the rules of this page. No DOM here; what comes out is still sanitised (markdown_html.js). */

import { addMathsRules } from './markdown_maths.js'

/** A block nested deeper than this is text, which bounds the work for `>>>>>`. */
const MAX_NESTING = 24
const SAFE_LINK = /^(?:https?:\/\/|mailto:)[^\s]/i
const ALIGNMENT = /text-align:\s*(left|center|right)/
const TASK = /^\[([ xX])\]\s/

/**
 * A markdown-it with the page's rules. `maths(source, isDisplay)` returns MathML, or null for maths that is shown as its
 * source. `env` of a rendering: `{previousLevel, isFinal}`, of which this module changes `previousLevel`.
 */
export function newMarkdown(MarkdownIt, maths) {
  // Without `html`, a tag is text. Links without a scheme stay text: most of them are names of files.
  const md = new MarkdownIt('default', { html: false, linkify: true, breaks: true, maxNesting: MAX_NESTING })
  md.linkify.set({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false })
  md.validateLink = (url) => SAFE_LINK.test(url)
  md.core.ruler.push('tasks', markTasks)
  const { rules } = md.renderer
  rules.fence = rules.code_block = (tokens, at) => codeBox(tokens[at], md.utils.escapeHtml)
  addMathsRules(md, maths)
  rules.image = (tokens, at, options, env, self) => imageLink(tokens[at], self.renderInlineAsText(tokens[at].children, options, env), md.utils.escapeHtml)
  rules.table_open = () => '<div class="table" tabindex="0" role="group" aria-label="Table"><table>'
  rules.table_close = () => '</table></div>'
  rules.th_open = rules.td_open = (tokens, at, options, env, self) => cell(tokens[at], self)
  rules.link_open = (tokens, at, options, env, self) => link(tokens[at], self)
  rules.heading_open = (tokens, at, options, env) => headingOpen(tokens, at, env)
  rules.heading_close = (tokens, at) => `</${tokens[at].tag}>`
  rules.task_box = (tokens, at) => taskBox(tokens[at].meta.isDone)
  return md
}

function codeBox({ content, info }, escapeHtml) {
  const language = escapeHtml(info.trim().split(/\s/u, 1)[0].slice(0, 40))
  const name = language ? `Code, ${language}` : 'Code'
  return `<div class="code"><div class="code-head"><span class="language">${language}</span>`
    + '<button type="button" class="copy" aria-label="Copy code">Copy</button></div>'
    + `<pre tabindex="0" role="group" aria-label="${name}" dir="ltr"><code data-language="${language}">${escapeHtml(content)}</code></pre></div>`
}

/** No other origin is fetched from, so a picture is a link to it. */
function imageLink(token, words, escapeHtml) {
  const address = token.attrGet('src') ?? ''
  const shown = escapeHtml(words || address)
  return SAFE_LINK.test(address) ? `<a ${attributesOfLink(escapeHtml(address))}>${shown}</a>` : shown
}

const attributesOfLink = (address) => `href="${address}" target="_blank" rel="noopener noreferrer nofollow"`

function link(token, self) {
  token.attrSet('target', '_blank')
  token.attrSet('rel', 'noopener noreferrer nofollow')
  return `<a${self.renderAttrs(token)}>`
}

/** The policy of the page refuses a style attribute, with which markdown-it aligns. */
function cell(token, self) {
  const alignment = ALIGNMENT.exec(token.attrGet('style') ?? '')?.[1]
  token.attrs = alignment ? [['class', `align-${alignment}`]] : null
  return `<${token.tag}${self.renderAttrs(token)}>`
}

/** The page's own headings end at level 2, and no level below it may be left out, so that a screen reader finds its way. */
function headingOpen(tokens, at, env) {
  const written = Number(tokens[at].tag.slice(1))
  const level = Math.min(written + 2, env.previousLevel + 1, 6)
  env.previousLevel = level
  tokens[at + 2].tag = `h${level}` // behind the heading's one inline token
  return `<h${level} class="level-${written}">`
}

const taskBox = (isDone) => `<input type="checkbox" disabled aria-label="${isDone ? 'Done' : 'Not done'}"${isDone ? ' checked' : ''}> `

function markTasks({ tokens, Token }) {
  for (let at = 2; at < tokens.length; at += 1) {
    const [item, paragraph, inline] = [tokens[at - 2], tokens[at - 1], tokens[at]]
    if (inline.type !== 'inline' || paragraph.type !== 'paragraph_open' || item.type !== 'list_item_open') continue
    const [first] = inline.children
    const found = first?.type === 'text' && TASK.exec(`${first.content}`)
    if (!found) continue
    first.content = first.content.slice(found[0].length)
    const box = new Token('task_box', 'input', 0)
    box.meta = { isDone: found[1] !== ' ' }
    inline.children.unshift(box)
    item.attrSet('class', 'task')
  }
}
