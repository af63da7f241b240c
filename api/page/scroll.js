/** Keeps the end of the feed in view while the reader is there, and leaves alone a reader who scrolls up. */

/** A reader who scrolls down to nearer than this to the end, in px, wants to see what comes. */
const NEAR = 24
const UP_KEYS = ['PageUp', 'Home', 'ArrowUp']

/**
 * Pin `feed` to its end. The reader unpins it by any scroll upwards, and pins it by reaching the end; `latest` is a button
 * that does the same. Returns `{follow(), hold(change), toEnd()}`: `follow` shows the end if the feed is pinned, `toEnd` pins it,
 * and `hold` runs a change of the feed's size.
 */
export function newScroll(feed, latest) {
  let isPinned = true
  let lastTop = feed.scrollTop

  function pin(value) {
    isPinned = value
    latest.hidden = value
  }

  /** What the position says since the last look. Content that shrank lowers it too, and then it is the end. */
  function look() {
    const top = feed.scrollTop
    const end = feed.scrollHeight - feed.clientHeight
    if (top < lastTop - .5 && end - top > 1) pin(false)
    else if (top > lastTop && end - top < NEAR) pin(true)
    else if (end - top <= 1 && top >= lastTop) pin(true)
    lastTop = top
  }

  function toEnd() {
    pin(true)
    feed.scrollTop = feed.scrollHeight
    lastTop = feed.scrollTop
  }

  function follow() {
    look()
    if (isPinned) toEnd()
  }

  /** Make a change that moves the feed's edges. Firefox moves the position with them, which no reader did. */
  function hold(change) {
    look()
    const top = feed.scrollTop
    change()
    if (isPinned) toEnd()
    else lastTop = feed.scrollTop = top
  }

  const canScrollUp = () => feed.scrollTop > 0
  // The wheel and the keys come before the position moves; a smooth scroll moves it by less than a pixel at first.
  feed.addEventListener('wheel', ({ deltaY, ctrlKey }) => {
    if (deltaY < 0 && !ctrlKey && canScrollUp()) pin(false)
  }, { passive: true })
  feed.addEventListener('keydown', (event) => {
    const { key, shiftKey } = event
    if ((UP_KEYS.includes(key) || (key === ' ' && shiftKey)) && canScrollUp()) pin(false)
    if (event.target !== feed || event.ctrlKey || event.altKey || event.metaKey) return
    // A smooth scroll would go on after the next key, and might never reach an end that moves while an answer streams.
    const page = .9 * feed.clientHeight
    const tops = { Home: 0, PageUp: feed.scrollTop - page, PageDown: feed.scrollTop + page }
    if (key === 'End') toEnd()
    else if (key in tops) feed.scrollTop = tops[key]
    else return
    event.preventDefault()
  })
  feed.addEventListener('scroll', look)
  new ResizeObserver(follow).observe(feed)
  return { follow, hold, toEnd }
}
