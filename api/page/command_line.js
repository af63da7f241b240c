/** Pure: the commands of the box, as GPT Terminal's help names them. Text that is no exact command is a question. */

/** What each command is for; `usage` is what a person types. */
export const COMMANDS = [
  { name: 'chat', usage: 'gpt chat [-r role] [-t temperature] [-m model] <message>', about: 'Asks a question' },
  { name: 'role', usage: 'gpt role [name]', about: 'Lists the roles, or chooses one; default is no role' },
  { name: 'model', usage: 'gpt model [name]', about: 'Lists the models, or chooses one; default is the server’s choice' },
  { name: 'history', usage: 'gpt history [-p page]', about: 'Shows the questions of this conversation, newest first' },
  { name: 'diy', usage: 'gpt diy -k keyword -n name -d description', about: 'Makes a role of your own, kept in this browser' },
  { name: 'image', usage: 'gpt image <description>', about: 'Is not offered, because this server writes text only' },
  { name: 'help', usage: 'help', about: 'Lists the commands' },
  { name: 'clear', usage: 'clear', about: 'Empties the history on this screen; nothing is deleted' },
  { name: 'shortcut', usage: 'shortcut', about: 'Lists the keys' },
]
const NAMES = COMMANDS.map(({ name }) => name)
/** These run without a `gpt` before them. */
const WORDS = ['help', 'clear', 'history', 'shortcut']
const OPTIONS = {
  chat: { r: 'role', t: 'temperature', m: 'model' },
  history: { p: 'page' },
  diy: { k: 'keyword', n: 'name', d: 'description' },
}
const VALUE = String.raw`"[^"]*"|'[^']*'|\S+`
const KEYWORD = /^(?!default$)[a-z0-9][a-z0-9_-]{0,63}$/

/**
 * The command in `text`, or null if the text is a question. A command is `{name, ...values}`; a mistake in one is
 * `{name, problem}` with words for the person who typed it.
 */
export function parseCommand(text) {
  const line = text.trim()
  if (WORDS.includes(line)) return { name: line, ...(line === 'history' && { page: 1 }) }
  const match = /^(?:gpt\s+|\/)([a-z]+)(?:\s+([^]*))?$/.exec(line)
  if (line === 'gpt' || line === '/') return { name: 'help' }
  if (!match || !NAMES.includes(match[1])) return null
  const [, name, rest = ''] = match
  return PARSERS[name]?.(rest) ?? parseBare(name, rest)
}

const PARSERS = {
  chat: parseChat, history: parseHistory, diy: parseDiy,
  image: () => ({ name: 'image' }),
  role: (rest) => parseChoice('role', rest),
  model: (rest) => parseChoice('model', rest),
}

/** A command without arguments: with further words the text is a question. */
const parseBare = (name, rest) => (rest === '' ? { name } : null)

const parseChoice = (name, rest) => (/\s/.test(rest) ? null : { name, choice: rest || null })

function parseChat(rest) {
  const { values, others, problem } = readOptions('chat', rest)
  if (problem) return { name: 'chat', problem }
  if (others === '') return { name: 'chat', problem: 'Write a message after gpt chat.' }
  const temperature = values.temperature === undefined ? undefined : Number(values.temperature)
  if (temperature !== undefined && !(temperature >= 0 && temperature <= 2)) {
    return { name: 'chat', problem: `-t takes a number from 0 to 2, not ${values.temperature}.` }
  }
  return { name: 'chat', message: others, ...values, ...(temperature !== undefined && { temperature }) }
}

function parseHistory(rest) {
  const { values: { page = '1' }, others, problem } = readOptions('history', rest)
  if (others) return null
  if (problem) return { name: 'history', problem }
  return /^[1-9]\d{0,5}$/.test(page) ? { name: 'history', page: Number(page) }
    : { name: 'history', problem: `-p takes the number of a page, not ${page}.` }
}

function parseDiy(rest) {
  const { values, others, problem } = readOptions('diy', rest)
  const { keyword, name: title = keyword, description } = values
  if (problem) return { name: 'diy', problem }
  if (!keyword || !(description || others)) return { name: 'diy', problem: `Type ${usageOf('diy')}` }
  if (!KEYWORD.test(keyword)) {
    return { name: 'diy', problem: '-k takes up to 64 of a-z, 0-9, - and _, with a letter or digit first.' }
  }
  return { name: 'diy', keyword, title, description: description ?? title, file: others || null }
}

const usageOf = (name) => COMMANDS.find((command) => command.name === name).usage

/** The options before and behind the other words. After `--` no word is an option. */
function readOptions(name, rest) {
  const keys = OPTIONS[name]
  const long = Object.fromEntries(Object.values(keys).map((key) => [key, key]))
  const pattern = `(?:-(${Object.keys(keys).join('|')})|--(${Object.keys(long).join('|')}))(?:\\s+(${VALUE}))?`
  const values = {}
  let others = rest
  const take = (match) => {
    values[keys[match[1]] ?? long[match[2]]] = unquoted(match[3] ?? '')
    others = (others.slice(0, match.index) + others.slice(match.index + match[0].length)).trim()
  }
  const first = new RegExp(`^${pattern}(?=\\s|$)`)
  const last = new RegExp(`(?<=\\s)${pattern}$`)
  for (let match; (match = first.exec(others));) take(match)
  if (/^--(\s|$)/.test(others)) others = others.slice(2).trim()
  else for (let match; (match = last.exec(others));) take(match)
  const empty = Object.entries(values).find(([, value]) => value === '')
  return { values, others, problem: empty && `Give a value after the option for ${empty[0]}.` }
}

const unquoted = (value) => (/^(["']).*\1$/s.test(value) ? value.slice(1, -1) : value)

/**
 * What Tab can make of `text`: `[{text, about}]`, whole texts for the box. `known` has `roles` and `models`, lists of
 * `{name, description}`. A text that begins no command has no completions.
 */
export function completionsOf(text, { roles = [], models = [] }) {
  if (text.includes('\n')) return []
  const chosen = /^((?:gpt\s+|\/)(role|model)\s+|(?:gpt\s+|\/)chat\s+(?:[^]*\s)?(-r|--role|-m|--model)\s+)(\S*)$/.exec(text)
  if (chosen) {
    const [, before, command, option, start] = chosen
    const names = (command ?? option).replace(/^-+/, '').startsWith('r') ? roles : models
    const tail = command ? '' : ' '
    return names.filter(({ name }) => name.startsWith(start) && name !== start)
      .map(({ name, description }) => ({ text: before + name + tail, about: description ?? '' }))
  }
  const command = /^(gpt\s+|\/)([a-z]*)$/.exec(text)
  if (command) return commandsFrom(command[2], (name) => `${command[1]}${name}`)
  return text === 'g' || text === 'gp' || text === 'gpt' ? [{ text: 'gpt ', about: 'Runs a command' }] : []
}

function commandsFrom(start, write) {
  return COMMANDS.filter(({ name }) => name.startsWith(start) && name !== start)
    .map(({ name, about }) => ({ text: write(name) + (name in PARSERS ? ' ' : ''), about }))
}
