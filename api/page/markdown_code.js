/** Code of an answer: it grows with the text, is coloured by its language, and is copied by its button. */

import { drawChildren } from './markdown_morph.js'

/** Shorter code is coloured with each new line, longer code when it has grown by a quarter, and at its end. */
const SHORT = 3_000
/** Longer code stays plain: to colour it takes longer than a frame. */
const MAX_LENGTH = 40_000
const COPIED_MS = 2_000

/** `{grow(code, text), isIn(element), isNewIn(element), finish(element), useHighlighter()}`. `libraries` has the highlighter or loads it, and a sanitizer. */
export function newCodeView(libraries) {
  /** Of each code element: the text that is coloured. */
  const coloured = new WeakMap()
  let pending = new Set()

  function colour(code) {
    const { language } = code.dataset
    const text = code.textContent
    if (!language || text.length > MAX_LENGTH || coloured.get(code) === text) return
    const { highlighter, sanitizer } = libraries
    if (!highlighter) {
      pending.add(code)
      libraries.needHighlighter()
    } else {
      coloured.set(code, text)
      if (!highlighter.getLanguage(language)) return
      const { value } = highlighter.highlight(text, { language, ignoreIllegals: true })
      drawChildren(code, 0, sanitizer.coloursOf(value))
    }
  }

  const codesOf = (element) => [...element.querySelectorAll('code[data-language]')]

  return {
    /** Make `text` the content. Text that only grew is appended in the colour of plain code. */
    grow(code, text) {
      const old = code.textContent
      if (text === old) return
      if (text.startsWith(old)) code.append(text.slice(old.length))
      else code.textContent = text
      const done = text.startsWith(old) ? coloured.get(code)?.length ?? 0 : 0
      const isDue = text.length < SHORT ? text.lastIndexOf('\n') >= done : text.length > done * 1.25
      if (isDue) colour(code)
    },
    /** Whether an element has code that can be coloured. */
    isIn: (element) => codesOf(element).length > 0,
    /** Whether an element has code that came whole, so that `grow` did not colour its beginning. */
    isNewIn: (element) => codesOf(element).some((code) => !coloured.has(code)),
    /** Colour all code in an element as it is now. */
    finish(element) {
      for (const code of codesOf(element)) colour(code)
    },
    /** Colour what waited for the highlighter. */
    useHighlighter() {
      for (const code of pending) colour(code)
      pending = new Set()
    },
  }
}

/** Copy code when its button is pressed, anywhere under `root`. */
export function watchCopyButtons(root) {
  root.addEventListener('click', async ({ target }) => {
    const button = target.closest?.('.code-head > .copy')
    if (!button) return
    const code = button.closest('.code').querySelector('code')
    // A page without TLS cannot write to the clipboard.
    const isCopied = await (navigator.clipboard?.writeText(code.textContent).then(() => true, () => false) ?? false)
    if (!isCopied) getSelection().selectAllChildren(code)
    button.textContent = isCopied ? 'Copied' : 'Selected: press Ctrl+C'
    setTimeout(() => { button.textContent = 'Copy' }, COPIED_MS)
  })
}
