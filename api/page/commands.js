/** What the commands of the box do. Their output is shown in this browser's transcript only. */

import { COMMANDS } from './command_line.js'
import { roleOfCommand } from './own_roles.js'
import { questionOf } from './words.js'

const PAGE = 10
const SHORTCUTS = [
  ['Enter', 'sends; on a phone, the Send button does'], ['Shift+Enter', 'starts a line'],
  ['Esc, or Ctrl+C without a selection', 'stops the answer'], ['↑ in an empty box', 'recalls an earlier question'],
  ['Tab', 'completes a command, a role or a model'],
  ['PageUp, PageDown, Home, End', 'move through the history when it has the focus'],
]

/**
 * Returns `run(command)`. `page` has `print(element)`, `clear()`, `requests()`, `roles()`, `ownRoles()`, `keepRole(role)`,
 * `models()` (a promise), `choose(choices)` and `ask(question)`. A command with a problem rejects with that problem.
 */
export function newCommands(page) {
  const names = () => [...page.roles(), ...page.ownRoles()]
  const print = (title, rows) => page.print(listOf(title, rows))

  /** The name as the composer knows it: a role of the server first, then one of the browser. */
  function roleNamed(name) {
    if (name === 'default') return null
    if (page.roles().some((role) => role.name === name)) return name
    if (page.ownRoles().some((role) => role.name === name)) return `own:${name}`
    throw new Error(`No role has the name ${name}. Type gpt role to list the roles.`)
  }

  const runners = {
    help: () => print('Commands', COMMANDS.map(({ usage, about }) => [usage, about])),
    shortcut: () => print('Keys', SHORTCUTS),
    clear: () => page.clear(),
    image: () => print('Images are not offered. This server writes text only.', []),
    role({ choice }) {
      if (!choice) return print('Roles', names().map(({ name, description }) => [name, description]))
      page.choose({ role: roleNamed(choice), variables: {} })
      return print(choice === 'default' ? 'The next question goes out without a role.' : `The role is ${choice}.`, [])
    },
    async model({ choice }) {
      if (!choice) return print('Models', (await page.models()).map(({ name }) => [name, '']))
      page.choose({ model: choice === 'default' ? null : choice })
      return print(choice === 'default' ? 'The server chooses the model.' : `The model is ${choice}.`, [])
    },
    history({ page: number }) {
      const asked = page.requests().map((request, at) => [`${at + 1}`, questionOf(request)]).reverse()
      const pages = Math.max(1, Math.ceil(asked.length / PAGE))
      return print(`History, page ${number} of ${pages}`, asked.slice((number - 1) * PAGE, number * PAGE))
    },
    diy(command) {
      page.keepRole(roleOfCommand(command))
      page.choose({ role: `own:${command.keyword}`, variables: {} })
      return print(`The role ${command.title} is kept in this browser and chosen for this conversation.`, [])
    },
    chat({ message, role, temperature, model }) {
      const chosen = {
        ...(role && { role: roleNamed(role), variables: {} }), ...(model && { model }), ...(temperature !== undefined && { temperature }),
      }
      return page.ask(message, chosen)
    },
  }

  return async (command) => {
    if (command.problem) throw new Error(command.problem)
    await runners[command.name](command)
  }
}

/** A title with rows of a term and what is said of it; the words enter it as text nodes only. */
function listOf(title, rows) {
  const item = document.createElement('li')
  item.className = 'local'
  item.appendChild(document.createElement('p')).textContent = title
  if (rows.length === 0) return item
  const list = item.appendChild(document.createElement('dl'))
  for (const [term, about] of rows) {
    const row = list.appendChild(document.createElement('div'))
    row.appendChild(document.createElement('dt')).textContent = term
    row.appendChild(document.createElement('dd')).textContent = about
  }
  return item
}
