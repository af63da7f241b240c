/** Reads a file into a message part. Images are drawn again where they are large, or would carry where they were taken. */

import { audioPart, imagePart, kindOf, pdfPart, safeName, sizeOf, textPart, wordsForBytes, MOST_BYTES } from './attachments.js'

/** Models see no more than about this many pixels on a side. */
const LONGEST_SIDE = 2048
const JPEG_QUALITY = 0.9
/** These are sent as they are if they are small. A JPEG is not: a phone writes the place into it. */
const KEPT = ['image/png', 'image/gif']
const KEPT_BYTES = 4 * 1024 * 1024

/** The part for a file. Rejects with words for a person, which name the file. */
export async function readPart(file) {
  const name = safeName(file.name)
  const part = await READERS[kindOf(file.type)](file, name)
  const size = sizeOf(part)
  if (size > MOST_BYTES) throw new Error(`${name} takes ${wordsForBytes(size)} in a message. ${wordsForBytes(MOST_BYTES)} is the most.`)
  return part
}

const READERS = {
  image: readImage,
  audio: async (file, name) => audioPart(file.type, (await dataOf(file, file.type, name)).split(',')[1]),
  pdf: async (file, name) => pdfPart(name, await dataOf(file, file.type, name)),
  text: readText,
}

async function readImage(file, name) {
  let image
  try {
    image = await createImageBitmap(file)
  } catch {
    throw new Error(`${name} cannot be read as an image. Attach it as PNG or JPEG.`)
  }
  try {
    const side = Math.max(image.width, image.height)
    if (side <= LONGEST_SIDE && KEPT.includes(file.type) && file.size <= KEPT_BYTES) {
      return imagePart(await dataOf(file, file.type, name))
    }
    return imagePart(await dataOf(await drawn(image, Math.min(1, LONGEST_SIDE / side)), 'image/jpeg', name))
  } finally {
    image.close()
  }
}

/** A JPEG of the image on white, because a JPEG has no transparency. */
function drawn(image, scale) {
  const canvas = document.createElement('canvas')
  canvas.width = Math.max(1, Math.round(image.width * scale))
  canvas.height = Math.max(1, Math.round(image.height * scale))
  const context = canvas.getContext('2d')
  context.fillStyle = 'white'
  context.fillRect(0, 0, canvas.width, canvas.height)
  context.imageSmoothingQuality = 'high'
  context.drawImage(image, 0, 0, canvas.width, canvas.height)
  return new Promise((resolve) => { canvas.toBlob(resolve, 'image/jpeg', JPEG_QUALITY) })
}

async function readText(file, name) {
  let text
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(await bytesOf(file, name))
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    text = '\0'
  }
  if (text.includes('\0')) throw new Error(`${name} is of a kind that no model reads. Attach images, text, PDF, WAV or MP3.`)
  return textPart(name, text.replaceAll('\r\n', '\n'))
}

async function bytesOf(file, name) {
  try {
    return await file.arrayBuffer()
  } catch {
    throw new Error(`${name} could not be read. It may have moved, or be a folder.`)
  }
}

/** The `data:` URL with this media type, whatever the browser would write. */
async function dataOf(blob, type, name) {
  const bytes = await bytesOf(blob, name)
  return new Promise((resolve, reject) => {
    const reader = new FileReader()
    reader.onload = () => resolve(reader.result)
    reader.onerror = () => reject(new Error(`${name} could not be read.`))
    reader.readAsDataURL(new Blob([bytes], { type }))
  })
}
