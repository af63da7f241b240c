/** The dialog that asks for the server's API key. The key stays in the tab, and goes with the tab. */

const KEY = 'tickertape-api-key'

export const readKey = () => sessionStorage.getItem(KEY)

/** `ask()` opens `dialog`; `onKey()` is called when a key was given. */
export function newDoor(dialog, onKey) {
  const [refused, input] = [dialog.querySelector('.problem'), dialog.querySelector('input')]
  dialog.addEventListener('close', () => {
    if (input.value === '') return
    sessionStorage.setItem(KEY, input.value)
    input.value = ''
    onKey()
  })
  return {
    ask() {
      if (dialog.open) return
      refused.hidden = !readKey()
      dialog.showModal()
    },
  }
}
