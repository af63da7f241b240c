/** Pure: what a person chose for the next question, over what the conversation's latest request says. */

const NOTHING = { role: null, variables: {}, model: null, temperature: null }

/** The choices of a conversation are those of its latest request, `{role, variables, model, temperature}`. */
export function choicesOf(requests, summary = null) {
  const latest = requests.at(-1)
  if (!latest) return { ...NOTHING, ...known(summary) }
  const same = summary?.role === undefined || (summary.role || null) === latest.role
  return { ...NOTHING, ...(same && known(summary)), role: latest.role, ...(latest.chosen ?? {}) }
}

const known = (summary) => Object.fromEntries(
  Object.keys(NOTHING).filter((key) => summary?.[key] != null).map((key) => [key, summary[key]]),
)

/** The fields of `POST /chat` for the choices; what is not chosen is left out. */
export function fieldsOf({ role, variables, model, temperature }) {
  return {
    ...(role && { role }), ...(role && Object.keys(variables).length > 0 && { variables }), ...(model && { model }),
    ...(temperature !== null && { temperature }),
  }
}
