/** The tools that an answer called and the data that came with it, as DOM. All words enter it as text nodes. */

import { fitsOnALine, wholeOf, wordsForData, wordsForResult } from './step_words.js'

/** `show(request)` fills two lists. What did not change stays as it is, so that an open result stays open. */
export function newStepsView(calls, data) {
  const showCalls = newList(calls, callItem)
  const showData = newList(data, dataItem)
  return ({ toolCalls, toolResults, data: parts }) => {
    const results = new Map(toolResults.map((result) => [result.index, result]))
    showCalls(toolCalls.map((call) => [call, results.get(call.index)]))
    showData(parts.map((part) => [part]))
  }
}

/** A function that draws one item for each list of values, again only if one of the values is another one. */
function newList(list, draw) {
  let shown = []
  return (parts) => {
    for (const [n, part] of parts.entries()) {
      if (shown[n]?.every((value, at) => value === part[at])) continue
      const [item, before] = [document.createElement('li'), list.children[n]]
      item.append(...draw(...part))
      if (before?.querySelector('details')?.open) item.querySelector('details')?.setAttribute('open', '')
      if (before) before.replaceWith(item)
      else list.append(item)
    }
    while (list.children.length > parts.length) list.lastElementChild.remove()
    list.hidden = parts.length === 0
    shown = parts
  }
}

function callItem({ name, arguments: given }, result) {
  const call = document.createElement('span')
  call.textContent = `${name}(${given})`
  return result ? [call, valueView(wordsForResult(result), result.result)] : [call]
}

const dataItem = (part) => [valueView(wordsForData(part), part.value)]

/** One line, which opens if the value has more. */
function valueView(words, value) {
  const line = document.createElement(fitsOnALine(value) ? 'div' : 'summary')
  line.textContent = words
  if (line.localName === 'div') return line
  const [view, whole] = [document.createElement('details'), document.createElement('pre')]
  view.append(line, whole)
  // A result may have megabytes, and few of them are opened.
  view.addEventListener('toggle', () => {
    if (view.open && !whole.hasChildNodes()) whole.textContent = wholeOf(value)
  })
  return view
}
