/** HTML of an answer as nodes that are safe to show: an allowed list of elements and attributes, and no style. */

const HTML = 'a blockquote br button code del div em h3 h4 h5 h6 hr input li ol p pre s span strong table tbody td th thead tr ul'
const MATHML = 'math maction menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow ms mspace msqrt '
  + 'mstyle msub msubsup msup mtable mtd mtext mtr munder munderover none'
const ATTRIBUTES = 'aria-label checked class data-language dir disabled href rel role start tabindex target type'
const MATHML_ATTRIBUTES = 'accent accentunder columnalign columnlines columnspacing depth display displaystyle fence frame height '
  + 'largeop linethickness lspace mathbackground mathcolor mathsize mathvariant maxsize minsize movablelimits notation rowlines '
  + 'rowspacing rspace scriptlevel separator stretchy symmetric voffset width xmlns'
const words = (text) => text.split(' ')

const ANSWER = {
  ALLOWED_TAGS: words(`${HTML} ${MATHML}`),
  ALLOWED_ATTR: words(`${ATTRIBUTES} ${MATHML_ATTRIBUTES}`),
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ADD_URI_SAFE_ATTR: words(`${ATTRIBUTES} ${MATHML_ATTRIBUTES}`).filter((name) => name !== 'href'),
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
}
const COLOURS = { ALLOWED_TAGS: ['span'], ALLOWED_ATTR: ['class'], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true }

/** `{nodesOf(html), coloursOf(html)}`: the nodes of a block, and the nodes of highlighted code. */
export function newSanitizer(createDOMPurify) {
  const [answers, colours] = [ANSWER, COLOURS].map((rules) => {
    const purifier = createDOMPurify(window)
    purifier.setConfig(rules) // once: to read the rules takes as long as to sanitize a table
    return purifier
  })
  return {
    nodesOf: (html) => [...answers.sanitize(html).childNodes],
    coloursOf: (html) => [...colours.sanitize(html).childNodes],
  }
}
