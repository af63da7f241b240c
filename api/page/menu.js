/** A button that opens a menu, as the ARIA practices describe one. */

const STEPS = { ArrowDown: 1, ArrowUp: -1 }

/**
 * Make `button` open `menu`, an element with items of the role `menuitem`. A choice, Esc, Tab and a press outside close
 * the menu; choice and Esc give the focus back to the button. `data-up` says that the menu has no room below.
 */
export function newMenu(button, menu) {
  const items = () => [...menu.querySelectorAll('[role="menuitem"]')].filter((item) => !item.hidden)
  let listening

  function close({ focus = false } = {}) {
    if (menu.hidden) return
    listening.abort()
    menu.hidden = true
    button.setAttribute('aria-expanded', 'false')
    if (focus) button.focus()
  }

  function open(at = 0) {
    listening = new AbortController()
    const { signal } = listening
    menu.hidden = false
    delete menu.dataset.up
    if (menu.getBoundingClientRect().bottom > innerHeight) menu.dataset.up = ''
    button.setAttribute('aria-expanded', 'true')
    items().at(at)?.focus()
    document.addEventListener('pointerdown', ({ target }) => {
      if (!menu.contains(target) && !button.contains(target)) close()
    }, { signal, capture: true })
  }

  function step(key) {
    const all = items()
    const at = all.indexOf(document.activeElement)
    if (key === 'Home' || key === 'End') all.at(key === 'Home' ? 0 : -1).focus()
    else all[(at + STEPS[key] + all.length) % all.length].focus()
  }

  button.setAttribute('aria-haspopup', 'menu')
  button.setAttribute('aria-expanded', 'false')
  button.addEventListener('click', () => (menu.hidden ? open() : close()))
  button.addEventListener('keydown', (event) => {
    if (!(event.key in STEPS)) return
    event.preventDefault()
    open(event.key === 'ArrowUp' ? -1 : 0)
  })
  menu.addEventListener('keydown', (event) => {
    if (event.key === 'Tab') close()
    else if (event.key === 'Escape') close({ focus: true })
    else if (event.key in STEPS || ['Home', 'End'].includes(event.key)) step(event.key)
    else return
    if (event.key !== 'Tab') event.preventDefault() // Esc would stop the answer, too
  })
  // Before the item's own listener, which may move the focus.
  menu.addEventListener('click', ({ target }) => {
    if (target.closest('[role="menuitem"]')) close({ focus: true })
  }, { capture: true })
  menu.addEventListener('focusout', ({ relatedTarget }) => {
    if (relatedTarget && !menu.contains(relatedTarget)) close()
  })
}
