/** Pure: the images and files of a question as OpenAI's message parts, and what may be attached. */

/** A question has at most this many attachments. */
export const MOST_FILES = 10
/** What all attachments of a question may take in its body. The server takes 20 MiB, of which some is left for the text. */
export const MOST_BYTES = 19 * 1024 * 1024
/** A larger file is not opened. An image may shrink below `MOST_BYTES` when it is drawn smaller. */
export const MOST_FILE_BYTES = 60 * 1024 * 1024

const NAME_CHARS = 120
const FILE_START = /^<file name="([^"\n]*)">\n/
const FILE_END = '\n</file>'
/** What an `img` may show. An SVG is never shown: it may hold links and scripts. */
const SHOWN = /^data:image\/(png|jpeg|gif|webp);base64,/
const AUDIO = { 'audio/wav': 'wav', 'audio/wave': 'wav', 'audio/x-wav': 'wav', 'audio/vnd.wave': 'wav', 'audio/mpeg': 'mp3', 'audio/mp3': 'mp3' }

/** What a file becomes, by its media type: `image`, `audio`, `pdf` or `text`. An SVG is text. */
export function kindOf(type) {
  if (type in AUDIO) return 'audio'
  if (type === 'application/pdf') return 'pdf'
  return type.startsWith('image/') && type !== 'image/svg+xml' ? 'image' : 'text'
}

/** A file's name without characters that hide or reorder it, cut in the middle. The ending stays readable. */
export function safeName(name) {
  const clean = [...name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '').replaceAll('"', '\'')]
  if (clean.length === 0) return 'file'
  return clean.length <= NAME_CHARS ? clean.join('') : `${clean.slice(0, NAME_CHARS - 21).join('')}…${clean.slice(-20).join('')}`
}

export const imagePart = (url) => ({ type: 'image_url', image_url: { url } })
export const audioPart = (type, data) => ({ type: 'input_audio', input_audio: { data, format: AUDIO[type] } })
export const pdfPart = (name, url) => ({ type: 'file', file: { filename: name, file_data: url } })
/** A text file as a part that names it, for the model and for `attachmentOf`. */
export const textPart = (name, text) => ({ type: 'text', text: `<file name="${name}">\n${text}${FILE_END}` })

/** The content of a message: the text alone, or a list of parts with the text first. An empty text is left out. */
export function contentOf(text, parts) {
  if (parts.length === 0) return text
  return [...(text.trim() === '' ? [] : [{ type: 'text', text }]), ...parts]
}

/** The parts of a question that are attachments, as they were sent. */
export const attachedParts = (messages) => lastOfUser(messages)
  .flatMap(({ content }) => (Array.isArray(content) ? content : [])).filter((part) => attachmentOf(part) !== null)

/** The caller's last messages. Examples before them belong to a role of the caller's own. */
export const lastOfUser = (messages) => messages.slice(messages.findLastIndex(({ role }) => role !== 'user') + 1)

/** What a page shows of a part, `{kind, name, bytes, url}`; null for text that a person wrote. `url` is there if it is safe in an `img`. */
export function attachmentOf(part) {
  switch (part.type) {
    case 'text': return fileOf(part.text ?? '')
    case 'image_url': return imageOf(part.image_url?.url ?? '')
    case 'input_audio': {
      const { format = '', data = '' } = part.input_audio ?? {}
      return { kind: 'audio', name: `Sound, ${safeName(format).toUpperCase()}`, bytes: bytesOf(data) }
    }
    case 'file': return { kind: 'pdf', name: safeName(part.file?.filename ?? ''), bytes: bytesOf(part.file?.file_data ?? '') }
    default: return { kind: 'other', name: safeName(String(part.type)), bytes: null }
  }
}

function fileOf(text) {
  const start = FILE_START.exec(text)
  if (!start || !text.endsWith(FILE_END)) return null
  return { kind: 'text', name: safeName(start[1]), bytes: Math.max(0, text.length - start[0].length - FILE_END.length) }
}

function imageOf(url) {
  if (SHOWN.test(url)) return { kind: 'image', name: 'Image', bytes: bytesOf(url), url }
  return { kind: 'image', name: url.startsWith('data:') ? 'Image' : safeName(url), bytes: null }
}

const bytesOf = (base64) => Math.floor((base64.length - base64.indexOf(',') - 1) * 3 / 4)

/** The bytes that a part takes in a body, near enough: text in other scripts takes more than it has characters. */
export const sizeOf = (part) => (part.type === 'text' ? new TextEncoder().encode(part.text).length : JSON.stringify(part).length)

/** Why a file cannot be attached before it is opened; an empty text if it can. `count` is how many there are already. */
export function problemOf({ name, size }, count) {
  if (count >= MOST_FILES) return `${safeName(name)} was not attached. A question takes ${MOST_FILES} files at most.`
  if (size === 0) return `${safeName(name)} is empty, or a folder.`
  if (size > MOST_FILE_BYTES) return `${safeName(name)} has ${wordsForBytes(size)}. A file may have ${wordsForBytes(MOST_FILE_BYTES)} at most.`
  return ''
}

/** A size as a person reads it. */
export function wordsForBytes(bytes) {
  if (bytes < 1024) return bytes === 1 ? '1 byte' : `${bytes} bytes`
  if (bytes < 1024 * 1024) return `${Math.round(bytes / 1024)} KB`
  return `${(bytes / 1024 / 1024).toFixed(1).replace(/\.0$/, '')} MB`
}
