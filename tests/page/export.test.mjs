import assert from 'node:assert/strict'
import { test } from 'node:test'

import { fileNameOf, jsonOf, markdownOf } from '../../api/page/export.js'
import { newRequest } from '../../client/javascript/fold.js'

const asked = (content, known = {}) => newRequest('r1', {
  status: 'completed', messages: [{ role: 'user', content }], ...known,
})

test('a turn is a quotation and the answer as it was written', () => {
  const request = asked('Why?\n\nReally.', { role: 'sql', model: 'm', text: 'Because *so*.\n\n- one' })
  assert.equal(markdownOf([request], 'A\ntitle'), [
    '# A title', '## Question (role `sql`)', '> Why?\n>\n> Really.', '## Answer (`m`)', 'Because *so*.\n\n- one\n',
  ].join('\n\n'))
})

test('reasoning, a refusal and tool calls are named', () => {
  const call = { index: 0, id: 'c', name: 'find', arguments: '{"a": "```"}' }
  const words = markdownOf([asked('Q', { reasoning: 'hm\nso', refusal: 'No.', toolCalls: [call] })], 'T')
  assert.ok(words.includes('> **Reasoning**\n>\n> hm\n> so'))
  assert.ok(words.includes('> **Refusal**\n>\n> No.'))
  assert.ok(words.includes('**Tool call** `find`\n\n````json\n{"a": "```"}\n````'))
})

test('results of tools and data are named, and cannot end their fences', () => {
  const call = { index: 1, id: 'c', name: 'find', arguments: '{}' }
  const words = markdownOf([asked('Q', {
    toolCalls: [call], toolResults: [{ index: 1, id: 'c', result: '```', isError: true }], data: [{ name: 'row', id: null, value: { a: 1 } }],
  })], 'T')
  assert.ok(words.includes('**Tool error** `find`\n\n````\n```\n````'), words)
  assert.ok(words.includes('**Data** `row`\n\n```json\n{\n  "a": 1\n}\n```'), words)
})

test('code or HTML that an answer left open does not swallow the next turn', () => {
  for (const [text, end] of [
    ['```js\nlet a', '\n```'], ['````\n```\n', '````'], ['~~~\n```\n', '~~~'], ['```\na\n```\n', ''], ['    ```\ncode', ''],
    ['``` a`b', ''], ['<!-- a\n\n```', '\n-->'], ['<!-- a -->', ''], ['<!-- a\n-->\n```', '\n```'], ['a <!-- b', ''],
    ['<PRE>\n\na', '\n</pre>'], ['<script>a</script>', ''], ['<?php\n', '?>'], ['<!DOCTYPE a', '\n>'], ['<![CDATA[ a', '\n]]>'],
    ['```\n<!--\n```', ''], ['<preface>', ''],
  ]) {
    assert.ok(markdownOf([asked('Q', { text })], 'T').endsWith(`${text}${end}\n`), text)
  }
})

test('a question cannot end its quotation', () => {
  const words = markdownOf([asked('```\n<!--\n## Answer')], 'T')
  assert.ok(words.includes('> ```\n> <!--\n> ## Answer\n'))
})

test('attachments are named and not included', () => {
  const parts = [
    { type: 'text', text: 'Look' }, { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
    { type: 'file', file: { filename: 'a`b.pdf', file_data: 'data:application/pdf;base64,BBBB' } },
  ]
  const words = markdownOf([asked(parts)], 'T')
  assert.ok(words.includes('> Look\n>\n> Attached: `Image`\n>\n> Attached: ``a`b.pdf``'), words)
  assert.ok(!words.includes('base64'))
})

test('an answer that did not finish says so', () => {
  const words = (known) => markdownOf([asked('Q', known)], 'T')
  assert.ok(words({ status: 'cancelled' }).includes('*Stopped.*'))
  assert.ok(words({ status: 'failed', error: { message: 'a\nb' } }).includes('*Failed: a b*'))
  assert.ok(words({ status: 'running' }).includes('still being written'))
})

test('JSON has every request of every branch in the words of the wire', () => {
  const requests = [asked('Q', { text: 'a' }), newRequest('r2', { parentId: 'r1', status: 'failed', error: { code: 'x' } })]
  const about = { conversationId: 'c', title: 'T', exportedAt: '2026-01-01T00:00:00.000Z' }
  const { turns, ...rest } = JSON.parse(jsonOf(requests, about))
  assert.deepEqual(rest, { conversation_id: 'c', title: 'T', exported_at: about.exportedAt })
  assert.deepEqual(turns.map(({ request_id: id, parent_id: parent, text, error }) => [id, parent, text, error]), [
    ['r1', null, 'a', null], ['r2', 'r1', '', { code: 'x' }],
  ])
  assert.deepEqual(turns[0].messages, requests[0].messages)
})

test('the name of the file is safe on every file system', () => {
  assert.equal(fileNameOf('../a\\b: "c"?\u202e', 'md'), 'a-b-c.md')
  assert.equal(fileNameOf('怎么 学习', 'json'), '怎么-学习.json')
  assert.equal(fileNameOf('...', 'md'), 'conversation.md')
  assert.ok(fileNameOf('x'.repeat(500), 'md').length < 70)
})
