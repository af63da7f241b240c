/** The role's select, and a field for each of its variables. */

const OWN = 'own:'

/** Shows choices `{role, variables, model, temperature}`; a role of one's own has `own:` before its name. */
export function newChoiceFields({ roles, variables }, onChange) {
  let known = []
  let own = []
  let shown = { role: null, variables: {}, model: null, temperature: null }
  const find = (name) => known.find((role) => role.name === name)

  const optionOf = (value, { name, title, description }) => {
    const option = new Option(title || name, value)
    option.title = description ?? ''
    return option
  }

  function fillRoles() {
    const mine = document.createElement('optgroup')
    mine.label = 'Your own'
    mine.append(...own.map((role) => optionOf(OWN + role.name, role)))
    const other = shown.role && !find(shown.role) && !ownRole(shown.role) ? [new Option(shown.role, shown.role)] : []
    roles.replaceChildren(new Option('No role', ''), ...known.map((role) => optionOf(role.name, role)), ...other)
    if (own.length > 0) roles.append(mine)
    roles.value = shown.role ?? ''
    fillVariables()
  }

  function fillVariables() {
    const entries = Object.entries(find(shown.role)?.variables ?? {})
    variables.hidden = entries.length === 0
    variables.replaceChildren(...entries.map(([name, initial]) => {
      const label = document.createElement('label')
      const input = document.createElement('input')
      Object.assign(input, { name: `variable-${name}`, value: shown.variables?.[name] ?? '', placeholder: initial, autocomplete: 'off' })
      input.addEventListener('input', () => {
        const { [name]: _, ...others } = shown.variables ?? {}
        shown = { ...shown, variables: input.value === '' ? others : { ...others, [name]: input.value } }
        onChange({ variables: shown.variables })
      })
      label.append(`${name.toLowerCase().replaceAll('_', ' ')} `, input)
      return label
    }))
  }

  const ownRole = (name) => own.find((role) => OWN + role.name === name)

  roles.addEventListener('change', () => {
    shown = { ...shown, role: roles.value || null, variables: {} }
    fillVariables()
    onChange({ role: shown.role, variables: {} })
  })
  return {
    setRoles(fromServer, fromBrowser) {
      [known, own] = [fromServer, fromBrowser]
      fillRoles()
    },
    show(choices) {
      if (JSON.stringify(choices) === JSON.stringify(shown)) return
      const isOther = choices.role !== shown.role || JSON.stringify(choices.variables) !== JSON.stringify(shown.variables)
      shown = choices
      if (isOther) fillRoles()
    },
    /** The choices as the fields say, and the role of one's own if one is chosen. */
    read: () => ({ ...shown, role: roles.value || null, own: ownRole(roles.value) ?? null }),
  }
}
