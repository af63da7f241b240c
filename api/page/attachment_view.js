/** One attachment as a list item: a picture or the kind of file, its name and its size. */

import { wordsForBytes } from './attachments.js'

const KINDS = { image: 'Image', audio: 'Sound', pdf: 'PDF', text: 'Text', other: 'Part' }

/** The item for `{kind, name, bytes, url}`. The name is untrusted, and enters as text in its own direction. */
export function attachmentView({ kind, name, bytes, url }) {
  const item = document.createElement('li')
  item.append(url ? picture(url, name) : element('span', 'kind', KINDS[kind]))
  const label = item.appendChild(element('span', 'label'))
  label.append(element('bdi', 'name', name), ...(bytes === null ? [] : [' ', element('span', 'size', wordsForBytes(bytes))]))
  return item
}

function picture(url, name) {
  const image = element('img')
  Object.assign(image, { src: url, alt: name, decoding: 'async' })
  return image
}

function element(tag, className = '', text = '') {
  const made = document.createElement(tag)
  made.className = className
  made.textContent = text
  return made
}
