/** Pure: a conversation as a file, Markdown of what can be seen or JSON of everything. */

import { attachedParts, attachmentOf } from './attachments.js'
import { closedMarkdown } from './markdown_closing.js'
import { questionOf } from './words.js'

/** The visible turns as Markdown: questions as quotations, answers as they were written. `title` is one line. */
export function markdownOf(requests, title) {
  const turns = requests.map(turnOf)
  return `${[`# ${oneLine(title)}`, ...turns].join('\n\n')}\n`
}

/** All requests with all branches as JSON, in the words of the native wire. `exportedAt` is an ISO time. */
export function jsonOf(requests, { conversationId, title, exportedAt }) {
  const turns = requests.map((request) => ({
    request_id: request.requestId, parent_id: request.parentId, status: request.status, role: request.role,
    model: request.model, messages: request.messages, text: request.text, reasoning: request.reasoning,
    refusal: request.refusal, tool_calls: request.toolCalls, tool_results: request.toolResults.map(resultOf),
    data: request.data, finish_reason: request.finishReason, usage: request.usage,
    error: request.error, sha256: request.sha256,
  }))
  return `${JSON.stringify({ conversation_id: conversationId, title, exported_at: exportedAt, turns }, null, 2)}\n`
}

/** A name that every file system takes, from a title; `extension` without its dot. */
export function fileNameOf(title, extension) {
  const words = title.normalize('NFC').replace(/[^\p{Letter}\p{Mark}\p{Number}]+/gu, ' ').trim()
  const name = Array.from(words.slice(0, 60)).join('').trim().replaceAll(' ', '-')
  return `${name || 'conversation'}.${extension}`
}

function turnOf(request) {
  const parts = [
    `## Question${request.role ? ` (role ${codeOf(request.role)})` : ''}`, quoted(withNames(request)),
    `## Answer${request.model ? ` (${codeOf(request.model)})` : ''}`,
    request.reasoning && quoted(`**Reasoning**\n\n${request.reasoning}`), closedMarkdown(request.text),
    request.refusal && quoted(`**Refusal**\n\n${request.refusal}`), ...request.toolCalls.map(toolCallOf), ...request.toolResults.map((result) => toolResultOf(result, request)),
    ...request.data.map(dataOf), endingOf(request),
  ]
  return parts.filter(Boolean).join('\n\n')
}

/** The question, and the name of each file behind it: their content is not text. */
function withNames(request) {
  const names = attachedParts(request.messages).map((part) => `Attached: ${codeOf(attachmentOf(part).name)}`)
  return [questionOf(request), ...names].filter(Boolean).join('\n\n')
}

const toolCallOf = ({ name, arguments: given }) => `**Tool call** ${codeOf(name)}\n\n${fenced(given, 'json')}`

function toolResultOf({ index, result, isError }, { toolCalls }) {
  const name = toolCalls.find((call) => call.index === index)?.name
  return `**Tool ${isError ? 'error' : 'result'}**${name ? ` ${codeOf(name)}` : ''}\n\n${valueOf(result)}`
}

const dataOf = ({ name, value }) => `**Data** ${codeOf(name)}\n\n${valueOf(value)}`

const valueOf = (value) => (typeof value === 'string' ? fenced(value, '') : fenced(JSON.stringify(value ?? null, null, 2), 'json'))

/** In the words of the native wire. */
const resultOf = ({ index, id, result, isError }) => ({ index, id, result, ...(isError && { is_error: true }) })

function endingOf({ status, error }) {
  if (status === 'failed') return `*Failed: ${oneLine(error?.message ?? 'the server kept no reason')}*`
  return { cancelled: '*Stopped.*', running: '*The answer is still being written.*', queued: '*The question still waits.*' }[status]
}

const oneLine = (text) => text.split(/\s+/u).join(' ').trim()

/** A quotation ends whatever its text left open: a fence, a comment, a list. */
const quoted = (text) => text && text.split('\n').map((line) => `> ${line}`.trimEnd()).join('\n')

/** Text as a code span, whatever backticks it has. */
function codeOf(text) {
  const ticks = '`'.repeat(longestRun(text, /`+/g) + 1)
  const pad = text.startsWith('`') || text.endsWith('`') ? ' ' : ''
  return `${ticks}${pad}${oneLine(text)}${pad}${ticks}`
}

function fenced(text, language) {
  const fence = '`'.repeat(Math.max(3, longestRun(text, /`+/g) + 1))
  return `${fence}${language}\n${text}\n${fence}`
}

const longestRun = (text, runs) => Math.max(0, ...(text.match(runs) ?? []).map(({ length }) => length))
