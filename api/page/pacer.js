/** How often the page is drawn: at each frame where that is cheap, and less often where it would leave no time for keys. */

/** After a drawing the page rests for so many times what the drawing took. Layout and paint take as long again. */
const REST = 6
/** However slow the machine, it does not rest longer than this, in ms. */
const LONGEST_REST_MS = 100

/**
 * `ask()` calls `draw` in one of the next frames, once for all who asked since the last; `askNow()` does not wait for the
 * rest to end. `frame`, `later` and `now` are the browser's, or a test's.
 */
export function newPacer(draw, { frame = (run) => requestAnimationFrame(run), later = setTimeout, now = () => performance.now() } = {}) {
  let [isAsked, isFramed] = [false, false]
  let restsUntil = 0

  function run() {
    isAsked = isFramed = false
    const from = now()
    try {
      draw()
    } finally {
      const end = now()
      restsUntil = end + Math.min(LONGEST_REST_MS, REST * (end - from))
    }
  }

  function askNow() {
    isAsked = true
    if (isFramed) return
    isFramed = true
    frame(run)
  }

  return {
    ask() {
      if (isAsked) return
      isAsked = true
      const rest = restsUntil - now()
      if (rest <= 0) askNow()
      else later(() => { if (isAsked) askNow() }, rest)
    },
    askNow,
  }
}
