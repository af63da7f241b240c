// A program that shows a request of tickertape-client as it grows: a line of JSON for each new text, and one at the end.

import { follow, submit } from 'tickertape-client'

const { URL: baseUrl } = process.env
const { request_id } = await submit({ message: 'Tell me' }, { baseUrl })
const texts = []
const onState = ({ text }) => {
  if (text !== texts.at(-1)) console.log(JSON.stringify(text))
  texts.push(text)
}
const { status, text } = await follow({ requestId: request_id, baseUrl, onState }).closed
const hasNeverShrunk = texts.every((one, index) => one.startsWith(texts[index - 1] ?? ''))
console.log(JSON.stringify({ status, text, hasNeverShrunk }))
