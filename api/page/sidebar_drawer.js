/** Opens and closes the sidebar: beside the conversation on a wide screen, over it on a narrow one. */

const KEPT = 'sidebar'
/** What the sidebar is to a screen reader while nothing else can be reached. */
const MODAL = { role: 'dialog', 'aria-modal': 'true' }
/** Things in the sidebar that take Esc for themselves. */
const TAKES_ESCAPE = '[role="menu"], form'

/**
 * `toggle` opens and closes `sidebar`. A wide screen keeps what the person chose in `kept`. On a narrow screen Esc and a
 * press outside close it too, and what is `behind` cannot be reached. `onOpen()` hears of an opening by hand. Returns `{offer(isUseful), closeOverlay()}`: `offer`
 * opens it on a wide screen where the person has chosen nothing.
 */
export function newSidebarDrawer(sidebar, { toggle, behind, kept, onOpen, narrow = matchMedia('(max-width: 52rem)') }) {
  let isOffered = false
  const isOverlay = () => narrow.matches && !sidebar.hidden

  function set(isOpen) {
    sidebar.hidden = !isOpen
    toggle.setAttribute('aria-expanded', String(isOpen))
    for (const element of behind) element.inert = isOverlay()
    for (const [name, value] of Object.entries(MODAL)) {
      if (isOverlay()) sidebar.setAttribute(name, value)
      else sidebar.removeAttribute(name)
    }
  }

  const setAsKept = () => set(!narrow.matches && kept.get(KEPT) === true)

  function closeOverlay() {
    if (!isOverlay()) return
    const hadFocus = sidebar.contains(document.activeElement)
    set(false)
    if (hadFocus) toggle.focus()
  }

  toggle.hidden = false
  toggle.addEventListener('click', () => {
    set(sidebar.hidden)
    if (!sidebar.hidden) onOpen()
    if (!narrow.matches) kept.set(KEPT, !sidebar.hidden)
    else if (isOverlay()) sidebar.focus()
  })
  sidebar.querySelector('.close').addEventListener('click', closeOverlay)
  narrow.addEventListener('change', setAsKept)
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !isOverlay() || document.querySelector('dialog[open]')) return
    if (event.target.closest(TAKES_ESCAPE)) return
    event.preventDefault() // Esc would stop the answer, too
    closeOverlay()
  }, { capture: true })
  document.addEventListener('click', ({ target }) => {
    if (target.closest('dialog') || sidebar.contains(target) || toggle.contains(target)) return
    closeOverlay()
  }, { capture: true })
  setAsKept()
  document.documentElement.classList.remove('sidebar-early')
  return {
    closeOverlay,
    offer(isUseful) {
      if (isOffered || !isUseful) return
      isOffered = true
      if (kept.get(KEPT) !== null) return
      kept.set(KEPT, true) // the next page opens it before its first paint
      if (!narrow.matches) set(true)
    },
  }
}
