/** The status page: reads /status.json every two seconds while the page is visible. */

import { newDoor, readKey } from './door.js'
import { CHARTS, chartOf, duration, keep, numbersOf, pauseMs, verdictOf } from './status_words.js'

const LIMIT_MS = 8000
const SVG = 'http://www.w3.org/2000/svg'
const find = (id) => document.getElementById(id)
const door = newDoor(find('door'), () => schedule(0))

let statuses = []
let failures = 0
let lastReadAt = null
let timer = null

function schedule(ms) {
  clearTimeout(timer)
  timer = document.visibilityState === 'visible' ? setTimeout(update, ms) : null
}

async function update() {
  try {
    const key = readKey()
    const response = await fetch('./status.json', {
      headers: key ? { Authorization: `Bearer ${key}` } : {},
      signal: AbortSignal.timeout(LIMIT_MS),
    })
    if (response.status === 401) {
      showVerdict({ state: 'lost', headline: 'This server asks for a key', problems: [] })
      door.ask()
      return
    }
    if (!response.ok) throw new Error(`the server answered ${response.status}`)
    show(await response.json())
    failures = 0
  } catch {
    failures += 1
    showLoss()
  }
  schedule(pauseMs(failures))
}

function show(status) {
  lastReadAt = Date.now()
  statuses = keep(statuses, status)
  showVerdict(verdictOf(status))
  find('age').textContent = `As of ${new Date(status.at * 1000).toLocaleTimeString()}. The page reads the numbers every two seconds.`
  find('numbers').replaceChildren(...numbersOf(status).map(numberView))
  find('charts').replaceChildren(...CHARTS.map(({ name, valueOf }) => chartView(name, chartOf(name, statuses, valueOf))))
  find('workers').replaceChildren(...status.workers.map(workerView))
}

function showLoss() {
  const since = lastReadAt === null ? '' : ` The numbers below are ${duration((Date.now() - lastReadAt) / 1000)} old.`
  showVerdict({ state: 'lost', headline: 'The server does not answer', problems: [] })
  find('age').textContent = `This page tries again by itself.${since}`
}

function showVerdict({ state, headline, problems }) {
  find('verdict').dataset.state = state
  // Written only when it changes, because a screen reader speaks each change.
  if (find('headline').textContent !== headline) find('headline').textContent = headline
  find('problems').replaceChildren(...problems.map((text) => element('li', text)))
}

function numberView([name, text]) {
  const view = element('div')
  view.append(element('dt', name), element('dd', text))
  return view
}

function chartView(name, { points, text }) {
  const view = element('figure')
  const drawing = document.createElementNS(SVG, 'svg')
  const line = document.createElementNS(SVG, 'polyline')
  for (const [key, value] of Object.entries({ viewBox: '0 0 100 30', preserveAspectRatio: 'none', role: 'img', 'aria-label': text })) {
    drawing.setAttribute(key, value)
  }
  line.setAttribute('points', points)
  drawing.append(line)
  view.append(element('figcaption', name), drawing)
  return view
}

function workerView(worker) {
  const row = element('tr')
  const state = worker.is_draining ? 'stopping' : 'at work'
  row.append(...[state, worker.running, worker.slots, `${duration(worker.seen_s)} ago`].map((text) => element('td', text)))
  return row
}

function element(tag, text = '') {
  const made = document.createElement(tag)
  made.textContent = text
  return made
}

document.addEventListener('visibilitychange', () => schedule(0))
schedule(0)
