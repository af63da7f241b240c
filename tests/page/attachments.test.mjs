import assert from 'node:assert/strict'
import { test } from 'node:test'

import {
  attachedParts, attachmentOf, audioPart, contentOf, imagePart, kindOf, MOST_FILE_BYTES, MOST_FILES, pdfPart, problemOf, safeName, textPart,
  wordsForBytes,
} from '../../api/page/attachments.js'
import { filesOfPaste } from '../../api/page/attachment_ways.js'
import { questionOf } from '../../api/page/words.js'

const PNG = 'data:image/png;base64,AAAA'

test('a question without attachments is a text, and with attachments a list of parts with the text first', () => {
  assert.equal(contentOf('Hi', []), 'Hi')
  assert.deepEqual(contentOf('Hi', [imagePart(PNG)]), [{ type: 'text', text: 'Hi' }, imagePart(PNG)])
  assert.deepEqual(contentOf(' ', [imagePart(PNG)]), [imagePart(PNG)])
})

test('the page finds text and attachments again in what was sent', () => {
  const parts = [imagePart(PNG), textPart('a.txt', 'one\ntwo'), audioPart('audio/mpeg', 'AAAA'), pdfPart('b.pdf', 'data:;base64,AAAA')]
  const messages = [{ role: 'system', content: 'x' }, { role: 'user', content: contentOf('Look', parts) }]
  assert.equal(questionOf({ messages }), 'Look')
  assert.deepEqual(attachedParts(messages), parts)
  assert.deepEqual(parts.map(attachmentOf), [
    { kind: 'image', name: 'Image', bytes: 3, url: PNG }, { kind: 'text', name: 'a.txt', bytes: 7 },
    { kind: 'audio', name: 'Sound, MP3', bytes: 3 }, { kind: 'pdf', name: 'b.pdf', bytes: 3 },
  ])
})

test('a part that another client sent never breaks the page', () => {
  const odd = [{ type: 'image_url' }, { type: 'input_audio' }, { type: 'file' }, { type: 'new' }, { type: 'image_url', image_url: { url: 'https://x/a.png' } }]
  assert.deepEqual(odd.map((part) => attachmentOf(part).kind), ['image', 'audio', 'pdf', 'other', 'image'])
  assert.equal(attachmentOf({ type: 'text' }), null)
  assert.equal(attachmentOf({ type: 'text', text: '<file name="a">without an end' }), null)
})

test('an SVG is text, and no img shows one', () => {
  assert.equal(kindOf('image/svg+xml'), 'text')
  assert.equal(attachmentOf(imagePart('data:image/svg+xml;base64,AAAA')).url, undefined)
  assert.deepEqual(['image/png', 'audio/wav', 'application/pdf', 'text/csv', ''].map(kindOf), ['image', 'audio', 'pdf', 'text', 'text'])
})

test('a name cannot hide its ending, end the frame of a text, or be endless', () => {
  assert.equal(safeName('photo\u202Egnp.exe'), 'photognp.exe')
  assert.equal(safeName('a"\n.txt'), 'a\'.txt')
  assert.equal(safeName('\u202E'), 'file')
  assert.equal(safeName(`${'a'.repeat(500)}.pdf`).length, 120)
  assert.match(safeName(`${'a'.repeat(500)}.pdf`), /a\.pdf$/)
})

test('a refusal before reading names the file and the limit', () => {
  assert.equal(problemOf({ name: 'a.txt', size: 1 }, 0), '')
  assert.match(problemOf({ name: 'a.txt', size: 0 }, 0), /^a\.txt is empty/)
  assert.match(problemOf({ name: 'a.txt', size: MOST_FILE_BYTES + 1 }, 0), /^a\.txt has 60 MB\. A file may have 60 MB at most\./)
  assert.match(problemOf({ name: 'a.txt', size: 1 }, MOST_FILES), /10 files at most/)
})

test('sizes read as a person says them', () => {
  assert.deepEqual([1, 900, 2048, 1536 * 1024].map(wordsForBytes), ['1 byte', '900 bytes', '2 KB', '1.5 MB'])
})

test('a paste from an office program is its text, a paste of an image is the image', () => {
  const files = [{ name: 'image.png' }]
  assert.deepEqual(filesOfPaste({ types: ['text/plain', 'text/html', 'Files'], files }), [])
  assert.deepEqual(filesOfPaste({ types: ['text/html', 'Files'], files }), files)
  assert.deepEqual(filesOfPaste(null), [])
})
