/** Pure: walks through earlier questions, as a shell does. The draft comes back at the end of the walk. */

/** `up(text)` and `down(text)` give the text for the box, or null if the key is not for this walk. */
export function newRecall(questions) {
  let at = null
  let draft = ''
  const shown = () => (at === null ? draft : questions()[at])

  function move(step, text) {
    const all = questions()
    if (at === null || text !== shown()) {
      if (step > 0 || text !== '' || all.length === 0) return null
      draft = text
      at = all.length
    }
    const next = at + step
    if (next < 0) return null
    at = next >= all.length ? null : next
    return shown()
  }

  return { up: (text) => move(-1, text), down: (text) => move(1, text) }
}
