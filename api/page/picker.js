/** The button that shows the model in use, and its popover: the server's models, and the temperature. */

import { temperatureOf } from './link_choices.js'

/** With fewer models than this, a search would be one more thing in the way. */
const SEARCHED_FROM = 9
const GAP_PX = 8

/**
 * A picker on `button` and `popover`. `choose({model})` and `choose({temperature})` are called for each choice; null is the
 * server's model, or the model's own temperature. `onOpen()` may bring newer models.
 */
export function newPicker({ button, popover }, choose, { onOpen = () => {} } = {}) {
  const find = (selector) => popover.querySelector(selector)
  const [list, search, none] = [find('.models'), find('[type=search]'), find('.none')]
  const [slider, number, own] = [find('[type=range]'), find('[type=number]'), find('.own')]
  let models = []
  let shown = { model: null, temperature: null, used: null }

  function fillModels() {
    const names = models.map(({ name }) => name)
    const others = shown.model && !names.includes(shown.model) ? [shown.model] : []
    list.replaceChildren(...[null, ...others, ...names].map(optionOf))
    search.parentElement.hidden = names.length < SEARCHED_FROM
    filter()
  }

  function optionOf(name) {
    const label = document.createElement('label')
    const radio = label.appendChild(document.createElement('input'))
    Object.assign(radio, { type: 'radio', name: 'model', value: name ?? '', checked: name === shown.model })
    const text = label.appendChild(document.createElement('bdi'))
    text.textContent = name ?? 'The server’s choice'
    radio.addEventListener('change', () => choose({ model: name }))
    return label
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean)
    const labels = [...list.children]
    for (const label of labels) label.hidden = !words.every((word) => label.textContent.toLowerCase().includes(word))
    none.hidden = labels.some((label) => !label.hidden)
  }

  function showTemperature() {
    const { temperature } = shown
    slider.value = temperature ?? 1
    slider.setAttribute('aria-valuetext', temperature === null ? 'the model’s own' : `${temperature}`)
    slider.classList.toggle('unset', temperature === null)
    if (document.activeElement !== number) number.value = temperature ?? ''
    own.disabled = temperature === null
  }

  function showButton() {
    const { model, temperature, used } = shown
    const name = model ?? used ?? 'Model'
    const words = [name, ...(temperature === null ? [] : [`${temperature}°`])].join(' · ')
    if (button.textContent !== words) button.textContent = words
    const spoken = [model ?? used ?? 'the server’s choice', temperature === null ? 'its own' : temperature]
    button.setAttribute('aria-label', `Model: ${spoken[0]}. Temperature: ${spoken[1]}.`)
  }

  /** Over the button; on a phone the style sheet puts the popover at the lower edge. */
  function place() {
    const { left, top } = button.getBoundingClientRect()
    popover.style.left = `${Math.max(GAP_PX, Math.min(left, innerWidth - popover.offsetWidth - GAP_PX))}px`
    popover.style.bottom = `${innerHeight - top + GAP_PX}px`
    popover.style.maxHeight = `${Math.max(200, top - 2 * GAP_PX)}px`
  }

  button.addEventListener('click', () => {
    button.focus() // not every browser does, and the focus returns to where it was
    if (!popover.togglePopover()) return
    onOpen()
    place()
    list.querySelector(':checked')?.focus()
  })
  popover.addEventListener('toggle', ({ newState }) => button.setAttribute('aria-expanded', String(newState === 'open')))
  popover.addEventListener('keydown', (event) => {
    if (event.isComposing || event.key !== 'Enter' || event.target === own) return
    event.preventDefault()
    popover.hidePopover()
  })
  search.addEventListener('input', filter)
  slider.addEventListener('input', () => choose({ temperature: Number(slider.value) }))
  number.addEventListener('input', () => {
    const temperature = temperatureOf(number.value)
    const isOdd = number.validity.badInput || (temperature === null && number.value !== '')
    number.setAttribute('aria-invalid', String(isOdd))
    if (!isOdd) choose({ temperature })
  })
  own.addEventListener('click', () => {
    choose({ temperature: null })
    number.value = ''
    slider.focus() // the button is disabled now
  })
  fillModels()
  showTemperature()
  showButton()
  return {
    setModels(fromServer) {
      if (JSON.stringify(fromServer) === JSON.stringify(models)) return
      models = fromServer
      const hadFocus = list.contains(document.activeElement)
      fillModels()
      if (popover.matches(':popover-open')) place()
      if (hadFocus) list.querySelector(':checked')?.focus()
    },
    /** Show the choices, and `used`, the model that answered last. */
    show({ model, temperature }, used) {
      if (model === shown.model && temperature === shown.temperature && used === shown.used) return
      const isOther = model !== shown.model
      shown = { model, temperature, used }
      const radio = isOther && [...list.querySelectorAll('input')].find(({ value }) => value === (model ?? ''))
      if (radio) radio.checked = true
      else if (isOther) fillModels()
      showTemperature()
      showButton()
    },
  }
}
