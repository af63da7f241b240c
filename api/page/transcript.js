/** The list of questions and answers: one view for each request, in the order of the requests. */

import { newRequestView } from './request_view.js'

/** `show(requests)` draws the requests that changed. `actions` are what each view can do with its request. */
export function newTranscript(list, actions) {
  const views = new Map()

  function dropOthers(requests) {
    const ids = new Set(requests.map(({ requestId }) => requestId))
    for (const [id, view] of views) {
      if (ids.has(id)) continue
      view.element.remove()
      views.delete(id)
    }
  }

  return {
    show(requests) {
      dropOthers(requests)
      let place = list.firstElementChild
      for (const request of requests) {
        const view = views.get(request.requestId) ?? newRequestView(actions)
        views.set(request.requestId, view)
        if (view.element === place) place = place.nextElementSibling
        else list.insertBefore(view.element, place)
        if (view.shown !== request || request.waiting) view.show(request)
        view.shown = request
      }
    },
  }
}
