/** The conversations as DOM: a group for each day, a link and a menu for each conversation. Titles enter as text. */

import { groupsOf, nameOf } from './conversation_list.js'
import { newMenu } from './menu.js'

/** `show(conversations, {currentId, isRunning})` draws. `actions` has `rename(id, title)` and `erase(conversation)`. */
export function newSidebarList(element, actions) {
  const items = new Map()
  const groups = new Map()

  function itemOf(conversation, shown) {
    const id = conversation.conversation_id
    if (!items.has(id)) items.set(id, newItem(id, actions))
    items.get(id).show(conversation, shown)
    return items.get(id).element
  }

  function groupOf({ name, conversations }, shown) {
    if (!groups.has(name)) groups.set(name, newGroup(name))
    const { section, list } = groups.get(name)
    place(list, conversations.map((conversation) => itemOf(conversation, shown)))
    return section
  }

  element.addEventListener('keydown', (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
    if (!step || !event.target.matches('a')) return
    const links = [...element.querySelectorAll('a')]
    links[links.indexOf(event.target) + step]?.focus()
    event.preventDefault()
  })
  return {
    show(conversations, shown) {
      const ids = new Set(conversations.map(({ conversation_id: id }) => id))
      for (const id of items.keys()) if (!ids.has(id)) items.delete(id)
      place(element, groupsOf(conversations, Date.now()).map((group) => groupOf(group, shown)))
    },
    /** Focus the conversation that has taken the place of number `at`; false if there is none. */
    focus(at) {
      const links = [...element.querySelectorAll('a')]
      const link = links[Math.min(at, links.length - 1)]
      link?.focus()
      return Boolean(link)
    },
    indexOf: (id) => [...element.querySelectorAll('li')].indexOf(items.get(id)?.element),
  }
}

/** Only elements that are not in their place are moved: a moved element loses the focus. */
function place(parent, elements) {
  const wanted = new Set(elements)
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove()
  let next = parent.firstElementChild
  for (const element of elements) {
    if (element === next) next = next.nextElementSibling
    else parent.insertBefore(element, next)
  }
}

function newGroup(name) {
  const [section, heading, list] = ['section', 'h2', 'ul'].map((tag) => document.createElement(tag))
  heading.textContent = name
  list.setAttribute('aria-label', name)
  section.append(heading, list)
  return { section, list }
}

function newItem(id, { rename, erase }) {
  const element = document.getElementById('conversation').content.firstElementChild.cloneNode(true)
  const part = (selector) => element.querySelector(selector)
  const [link, title, running, button, menu] = ['a', '.title', '.running', '.more', '[role="menu"]'].map(part)
  const field = newTitleField(part('form'), { link, onTitle: (words) => rename(id, words) })
  let shown
  link.href = `./?${new URLSearchParams({ c: id })}`
  newMenu(button, menu)
  const beginRename = () => field.open(nameOf(shown))
  part('.rename').addEventListener('click', beginRename)
  part('.erase').addEventListener('click', () => erase(shown))
  link.addEventListener('keydown', (event) => {
    if (event.key === 'F2') beginRename()
    else if (event.key === 'Delete') erase(shown)
    else return
    event.preventDefault()
  })
  return {
    element,
    show(conversation, { currentId, isRunning }) {
      shown = conversation
      const name = nameOf(conversation)
      if (title.textContent !== name) title.textContent = name
      link.title = name
      running.hidden = !isRunning(conversation)
      if (id === currentId) link.setAttribute('aria-current', 'page')
      button.setAttribute('aria-label', `Options of ${name}`)
      menu.setAttribute('aria-label', `Options of ${name}`)
    },
  }
}

/** The field that takes the link's place while a person renames. Enter and leaving the field keep the title, Esc does not. */
function newTitleField(form, { link, onTitle }) {
  const input = form.querySelector('input')
  let before = null

  function close(keeps) {
    if (before === null) return
    const [was, words] = [before, input.value.trim()]
    const hadFocus = form.contains(document.activeElement)
    before = null
    form.hidden = true
    link.hidden = false
    if (hadFocus) link.focus()
    if (keeps && words !== '' && words !== was) onTitle(words)
  }

  form.addEventListener('submit', (event) => {
    event.preventDefault()
    close(true)
  })
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || event.isComposing) return
    event.preventDefault()
    close(false)
  })
  input.addEventListener('blur', () => close(true))
  return {
    open(name) {
      before = name
      input.value = name
      link.hidden = true
      form.hidden = false
      input.focus()
      input.select()
    },
  }
}
