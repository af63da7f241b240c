/** Line icons, 20 by 20. They are drawn as DOM, because the page's policy permits no inline style. */

const SVG = 'http://www.w3.org/2000/svg'
const PATHS = {
  copy: 'M7 7h9v9H7zM13 7V4H4v9h3',
  check: 'M4 10.5 8 14.5 16 5.5',
  again: 'M16 10a6 6 0 1 1-2-4.5L16 7.5M16 3.5v4h-4',
  edit: 'M4 16l1-4 8-8 3 3-8 8zM11.5 5.5l3 3',
  erase: 'M4 6h12M8 6V4h4v2M6 6l.7 10h6.6L14 6M8.5 9v4.5M11.5 9v4.5',
  remove: 'M5 5l10 10M15 5 5 15',
  earlier: 'M12 5 7 10l5 5',
  later: 'M8 5l5 5-5 5',
}

/** An icon by its name. It is hidden from screen readers: the button around it has the name. */
export function newIcon(name) {
  const icon = document.createElementNS(SVG, 'svg')
  const attributes = { viewBox: '0 0 20 20', width: 18, height: 18, fill: 'none', stroke: 'currentColor', 'aria-hidden': true }
  for (const [key, value] of Object.entries(attributes)) icon.setAttribute(key, value)
  icon.appendChild(document.createElementNS(SVG, 'path')).setAttribute('d', PATHS[name])
  return icon
}

/** A button with an icon. `label` is its accessible name and its tooltip. */
export function newIconButton(name, label, onClick) {
  const button = document.createElement('button')
  Object.assign(button, { type: 'button', className: `icon ${name}`, title: label })
  button.setAttribute('aria-label', label)
  button.append(newIcon(name))
  button.addEventListener('click', onClick)
  return button
}
