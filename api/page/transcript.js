/** The list of questions and answers: one view for each request, in the order of the requests, and local output. */

import { newRequestView } from './request_view.js'

/**
 * `show(requests)` draws the requests that changed. `print(element)` puts local output behind what is shown now, and
 * `clear()` hides all that is shown now. `actions` are what each view can do with its request.
 */
export function newTranscript(list, actions) {
  const views = new Map()
  const cleared = new Set()
  let printed = []
  let latest = null

  function dropOthers(requests) {
    const ids = new Set(requests.map(({ requestId }) => requestId))
    for (const [id, view] of views) {
      if (ids.has(id)) continue
      view.element.remove()
      views.delete(id)
    }
    if (!ids.has(latest)) latest = null
  }

  function viewOf(request) {
    const view = views.get(request.requestId) ?? newRequestView(actions)
    views.set(request.requestId, view)
    if (view.shown !== request || request.waiting) view.show(request)
    view.shown = request
    view.element.hidden = cleared.has(request.requestId)
    return view.element
  }

  /** Only elements that are not in their place are moved: a moved element loses the focus. */
  function place(elements) {
    let next = list.firstElementChild
    for (const element of elements) {
      if (element === next) next = next.nextElementSibling
      else list.insertBefore(element, next)
    }
  }

  const printedBehind = (id) => printed.filter(({ behind }) => behind === id).map(({ element }) => element)

  return {
    show(requests) {
      dropOthers(requests)
      latest = requests.at(-1)?.requestId ?? null
      place([...printedBehind(null), ...requests.flatMap((request) => [viewOf(request), ...printedBehind(request.requestId)])])
    },
    print(element) {
      printed.push({ behind: latest, element })
      list.append(element)
    },
    clear() {
      for (const { element } of printed) element.remove()
      printed = []
      for (const [id, view] of views) {
        cleared.add(id)
        view.element.hidden = true
      }
    },
    isEmpty: () => printed.length === 0 && [...views.keys()].every((id) => cleared.has(id)),
  }
}
