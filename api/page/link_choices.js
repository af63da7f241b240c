/** Pure: the role, the model and the temperature that a link may carry for a conversation that has no question yet. */

const MOST_CHARS = 200

/** The choices in an address, each null if it is not there or could not be sent. */
export function choicesOfLink(href) {
  const { searchParams } = new URL(href)
  const name = (key) => searchParams.get(key)?.trim().slice(0, MOST_CHARS) || null
  const temperature = searchParams.get('temperature')?.trim() || null
  return { role: name('role'), model: name('model'), temperature: temperature === null ? null : temperatureOf(temperature) }
}

/** A temperature that the server takes, from 0 to 2; null for anything else. */
export function temperatureOf(text) {
  const value = text.trim() === '' ? NaN : Number(text)
  return value >= 0 && value <= 2 ? value : null
}
