/** Pure: what a tool gave and what a function sent, as text. */

const MOST_CHARACTERS = 20_000
const MOST_OF_A_LINE = 80

/** The value on several lines; the end of a very long one is left out. */
export const wholeOf = (value) => cut(typeof value === 'string' ? value : JSON.stringify(value ?? null, null, 2), MOST_CHARACTERS)

/** The first characters of the value on one line. */
export const shortOf = (value) => cut(wholeLineOf(value), MOST_OF_A_LINE)

export const wordsForResult = ({ result, isError }) => `${isError ? 'Failed' : 'Result'}: ${shortOf(result)}`

export const wordsForData = ({ name, value }) => `${name}: ${shortOf(value)}`

/** Whether the line leaves nothing out. */
export const fitsOnALine = (value) => wholeLineOf(value).length <= MOST_OF_A_LINE

const wholeLineOf = (value) => (typeof value === 'string' ? value : JSON.stringify(value ?? null)).split(/\s+/u).join(' ').trim()

const cut = (text, most) => (text.length <= most ? text : `${text.slice(0, most).toWellFormed()}…`)
