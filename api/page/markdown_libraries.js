/** The libraries behind Markdown: loaded once, when an answer needs them. An installation without them shows plain text. */

import { newMarkdown } from './markdown_rules.js'
import { newSanitizer } from './markdown_html.js'

const MATHS = { output: 'mathml', throwOnError: true, strict: 'ignore', trust: false, maxSize: 20, maxExpand: 200 }
/** The page's policy refuses a style, and the source of a formula would be read out twice. */
const REFUSED_IN_MATHS = / style="[^"]*"|<annotation\b[^>]*>[^<]*<\/annotation>/g

/**
 * `{md, sanitizer, highlighter}`, each null until it has been loaded, `needHighlighter()`, and `lacksMaths`, which a formula
 * sets that could not be drawn yet. `onReady` has a function for each: `markdown`, `highlighter` and `maths`.
 */
export function newLibraries(onReady, load = () => import('./assets/libraries.js')) {
  const libraries = { md: null, sanitizer: null, highlighter: null, needHighlighter: once(loadHighlighter), lacksMaths: false }
  const loaders = load()
  let katex = null
  const needMaths = once(loadMaths)

  async function loadMarkdown() {
    const { MarkdownIt, createDOMPurify } = await (await loaders).loadMarkdown()
    Object.assign(libraries, { sanitizer: newSanitizer(createDOMPurify), md: newMarkdown(MarkdownIt, mathml) })
    onReady.markdown()
  }

  async function loadHighlighter() {
    libraries.highlighter = (await (await loaders).loadHighlighter()).highlighter
    onReady.highlighter()
  }

  async function loadMaths() {
    katex = (await (await loaders).loadMaths()).katex
    onReady.maths()
  }

  function mathml(source, isDisplay) {
    if (!katex) {
      libraries.lacksMaths = true
      return needMaths()
    }
    try {
      return katex.renderToString(source, { ...MATHS, displayMode: isDisplay }).replace(REFUSED_IN_MATHS, '')
    } catch {
      return null // not (yet) a formula
    }
  }

  loadMarkdown().catch(() => {}) // answers stay plain text
  return libraries
}

/** A function that loads at its first call, and returns null at each. */
function once(load) {
  let isAsked = false
  return () => {
    if (!isAsked) load().catch(() => {}) // the plain form stays
    isAsked = true
    return null
  }
}
