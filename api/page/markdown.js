/** An answer as Markdown, drawn while it is written: only its last block is parsed and drawn again. */

import { newDrawQueue } from './draw_queue.js'
import { newBlockReader } from './markdown_blocks.js'
import { newCodeView, watchCopyButtons } from './markdown_code.js'
import { newLibraries } from './markdown_libraries.js'
import { drawChildren } from './markdown_morph.js'

/** So much text is read at once; more waits until after the next frame, and is plain until then. */
const STEP = 8_000
const AT_ONCE = 2_000
/** A step that took longer than a frame has is followed by a pause of so many times its length. */
const [FRAME_MS, PAUSE] = [12, 4]
/** A shorter answer is drawn again as a whole, so that nothing of it is plain for a moment. */
const AT_ONCE_AGAIN = 50_000
/** The elements whose last child may hold the end of the text. */
const BLOCKS = 'blockquote, code, div, h3, h4, h5, h6, li, ol, p, pre, table, tbody, td, th, thead, tr, ul'

const queue = newDrawQueue()
/** What the views do when the Markdown library, and the maths library, have been loaded. */
const waiting = { markdown: new Set(), maths: new Set() }
let libraries
let code

// The page is shown first.
setTimeout(start)

function start() {
  if (libraries) return
  const redraw = (what) => () => {
    for (const job of waiting[what]) job()
    waiting[what].clear()
  }
  const highlighter = () => queue.add(code.useHighlighter)
  libraries = newLibraries({ markdown: redraw('markdown'), maths: redraw('maths'), highlighter })
  code = newCodeView(libraries)
  watchCopyButtons(document)
}

/**
 * Show Markdown in `element`, which is empty: `show(text, {isFinal})`. Text that only grew costs its last block. The
 * element keeps the text itself as `rawText`, and dispatches `drawn` when a part was drawn after the call. Text is plain
 * until the libraries have been loaded, and without them.
 */
export function newMarkdownView(element) {
  start()
  const rest = newRest()
  element.rawText = ''
  let [text, isOver, length] = ['', false, 0] // `length` is how much of the text has been read
  let reader = null
  let settled = 0 // the number of children that will not change
  let isBroken = false
  let restsUntil = 0
  let timer
  let tip = null

  function rewind() {
    if (libraries.md && !isBroken) reader ??= newBlockReader(libraries.md)
    reader?.rewind()
    length = 0
    settled = 0
  }

  function read(limit) {
    length = Math.min(text.length, length + limit)
    const isLast = length === text.length
    libraries.lacksMaths = false
    const blocks = reader.read(text.slice(0, length), isOver && isLast)
    if (libraries.lacksMaths) waiting.maths.add(redraw)
    draw(blocks.settled.flatMap(nodesOf), blocks.open.flatMap(nodesOf))
    if (!isLast) queue.add(readLater)
    if (!isLast || !isOver || !reader.isStale()) return
    rewind()
    read(Infinity)
  }

  function draw(done, open) {
    rest.element.remove()
    drawChildren(element, settled, [...done, ...open], code.grow)
    const from = settled
    settled += done.length
    const drawn = Array.from({ length: done.length + open.length }, (_, index) => element.childNodes[from + index])
    const due = drawn.filter((node, index) => (index < done.length ? code.isIn(node) : code.isNewIn(node)))
    if (due.length > 0) queue.add(() => due.forEach(code.finish))
    showEnd()
  }

  /** What has not been read, as plain text, and a mark at the end of an answer that is being written. */
  function showEnd() {
    rest.show(element, text.slice(length))
    let last = element
    while (last.lastElementChild?.matches(BLOCKS)) last = last.lastElementChild
    if (tip !== last) tip?.classList.remove('tip')
    tip = last
    tip.classList.toggle('tip', !isOver && tip !== element)
  }

  /** Whatever a library makes of a text, the text is shown. */
  function attempt(limit) {
    const from = performance.now()
    try {
      read(limit)
      const ms = performance.now() - from
      restsUntil = ms > FRAME_MS ? performance.now() + PAUSE * ms : 0
    } catch (error) {
      console.warn('An answer is shown as plain text.', error)
      isBroken = true
      reader = null
      rewind()
      element.replaceChildren()
      showEnd()
    }
  }

  function readLater(limit = STEP) {
    if (reader) attempt(limit)
    element.dispatchEvent(new CustomEvent('drawn', { bubbles: true }))
  }

  function redrawNow() {
    rewind()
    readLater(text.length < AT_ONCE_AGAIN ? Infinity : STEP)
  }

  function readSoon() {
    clearTimeout(timer)
    timer = setTimeout(() => queue.add(readLater), restsUntil - performance.now())
  }

  const redraw = () => queue.add(redrawNow)

  return {
    show(newText, { isFinal }) {
      if (newText === text && isFinal === isOver) return
      const isLonger = newText.startsWith(text)
      text = element.rawText = newText
      isOver = isFinal
      if (!isLonger) element.replaceChildren()
      if (!isLonger || !reader) rewind()
      if (!reader) waiting.markdown.add(redraw)
      if (!reader) showEnd()
      else if (text.length - length <= AT_ONCE && performance.now() >= restsUntil) attempt(AT_ONCE)
      else {
        readSoon()
        showEnd()
      }
    },
  }
}

function nodesOf(html) {
  const nodes = libraries.sanitizer.nodesOf(html).filter(({ nodeType }) => nodeType === Node.ELEMENT_NODE)
  for (const node of nodes) if (!node.matches('.code, .formula')) node.dir = 'auto'
  return nodes
}

/** The plain text behind what has been drawn. Text that only grew is appended. */
function newRest() {
  const element = document.createElement('p')
  element.className = 'plain'
  element.dir = 'auto'
  const node = element.appendChild(document.createTextNode(''))
  return {
    element,
    show(parent, text) {
      if (text === '') element.remove()
      else if (parent.lastChild !== element) parent.append(element)
      if (text !== '' && node.data !== '' && text.startsWith(node.data)) node.appendData(text.slice(node.data.length))
      else node.data = text
    },
  }
}
