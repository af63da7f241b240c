/** Pure: roles that a person makes in the browser. A role is `{name, title, description, messages}`. */

const HEADING = /^# (SYSTEM|USER|ASSISTANT)[ \t]*$/

/** The messages in a role file: a `# SYSTEM`, `# USER` or `# ASSISTANT` line starts one. Without such a line: one for the system. */
export function messagesOfFile(text) {
  const messages = []
  for (const line of text.replace(/\r\n?/g, '\n').split('\n')) {
    const heading = HEADING.exec(line)
    if (heading) messages.push({ role: heading[1].toLowerCase(), content: '' })
    else if (messages.length > 0) messages.at(-1).content += `${line}\n`
  }
  const whole = messages.length > 0 ? messages : [{ role: 'system', content: text }]
  return whole.map(({ role, content }) => ({ role, content: content.trim() })).filter(({ content }) => content !== '')
}

/** The role that a `gpt diy` command makes: of its pasted file, else of its description. */
export function roleOfCommand({ keyword, title, description, file }) {
  return { name: keyword, title, description, messages: messagesOfFile(file ?? description), variables: {} }
}

/**
 * The messages to send for `content`, a text or parts, with this role. The role's own messages go before it once in a conversation:
 * the server sends the earlier turns along.
 */
export function messagesToSend(role, content, requests) {
  const first = JSON.stringify(role.messages)
  const isThere = requests.some(({ messages }) => JSON.stringify(messages.slice(0, role.messages.length)) === first)
  const message = { role: 'user', content }
  return isThere ? [message] : [...role.messages, message]
}
