/** Turns the nodes on the page into newer ones, and keeps each node that did not change: the selection and the focus stay. */

/** Make `nodes` the children of `parent` from the index `from` on. `grow(code, text)` writes into a code element. */
export function drawChildren(parent, from, nodes, grow) {
  nodes.forEach((node, index) => {
    const old = parent.childNodes[from + index]
    if (!old) parent.append(node)
    else if (old.nodeName !== node.nodeName || old.namespaceURI !== node.namespaceURI) parent.replaceChild(node, old)
    else become(old, node, grow)
  })
  while (parent.childNodes.length > from + nodes.length) parent.lastChild.remove()
}

function become(old, node, grow) {
  if (old.nodeType === Node.TEXT_NODE) return becomeText(old, node.data)
  // The reader's click changed its words for a while.
  if (old.nodeName === 'BUTTON') return
  for (const { name, value } of node.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  for (const { name } of [...old.attributes]) if (!node.hasAttribute(name)) old.removeAttribute(name)
  if (grow && old.matches('[data-language]')) grow(old, node.textContent)
  else drawChildren(old, 0, [...node.childNodes], grow)
}

function becomeText(old, data) {
  if (old.data === data) return
  if (data.startsWith(old.data)) old.appendData(data.slice(old.data.length))
  else old.data = data
}
