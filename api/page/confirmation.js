/** A question of the page itself, before something that cannot be taken back. */

/** Resolves to whether the person chose `action`; Esc and Cancel are a no. The focus returns to where it was. */
export function askToConfirm({ title, text, action }) {
  const dialog = document.createElement('dialog')
  const form = dialog.appendChild(document.createElement('form'))
  form.method = 'dialog'
  dialog.className = 'confirmation'
  dialog.setAttribute('aria-labelledby', 'confirmation-title')
  dialog.setAttribute('aria-describedby', 'confirmation-text')
  Object.assign(form.appendChild(document.createElement('h2')), { id: 'confirmation-title', textContent: title })
  Object.assign(form.appendChild(document.createElement('p')), { id: 'confirmation-text', textContent: text })
  const row = form.appendChild(document.createElement('div'))
  row.className = 'row'
  row.append(newButton('Cancel', ''), newButton(action, 'yes'))
  document.body.append(dialog)
  dialog.showModal()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(dialog.returnValue === 'yes')
    })
  })
}

function newButton(words, value) {
  return Object.assign(document.createElement('button'), { type: 'submit', textContent: words, value })
}
