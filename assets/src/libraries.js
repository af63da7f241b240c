/**
 * The libraries that the page loads when an answer needs them. The build puts each into a file whose name has a hash of its
 * content, so browsers keep these files, and ask only whether this small one has changed.
 */

/** Markdown to HTML, and HTML that is safe to show: `{MarkdownIt, createDOMPurify}`. */
export const loadMarkdown = () => import('./markdown.js')

/** The colours of code: `{highlighter}`, with the common languages. */
export const loadHighlighter = () => import('./highlighter.js')

/** Maths to MathML: `{katex}`. */
export const loadMaths = () => import('./maths.js')
