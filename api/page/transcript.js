/** The list of questions and answers: one view for each request, in the order of the requests, and local output. */

import { newRequestView } from './request_view.js'

/**
 * `show(requests, siblings)` draws the requests that changed; `siblings` has those of each request by its id. `print(element)` puts local output behind what is shown now, and
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
      view.remove()
      views.delete(id)
    }
    if (!ids.has(latest)) latest = null
  }

  function viewOf(request, siblings) {
    const view = views.get(request.requestId) ?? newRequestView(actions)
    views.set(request.requestId, view)
    const others = siblings.map(({ requestId }) => requestId).join()
    if (view.shown !== request || view.siblings !== others || request.waiting) view.show(request, siblings)
    view.shown = request
    view.siblings = others
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
    show(requests, siblings) {
      dropOthers(requests)
      latest = requests.at(-1)?.requestId ?? null
      place([...printedBehind(null), ...requests.flatMap(({ requestId }, number) => (
        [viewOf(requests[number], siblings.get(requestId)), ...printedBehind(requestId)]
      ))])
    },
    focusSwitch: (requestId, step) => views.get(requestId)?.focusSwitch(step),
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
