// A program of a user of tickertape-client: what it finds out goes to the output as JSON, and then it must end.

import { cancel, follow, listRoles, newConversation, newId, readConversation, submit, TickertapeError } from 'tickertape-client'

const { URL: baseUrl, KEY: apiKey } = process.env
const options = { baseUrl, apiKey }
const found = {}

const idempotencyKey = newId()
const first = await submit({ message: 'Tell me', conversation_id: 'tale' }, { ...options, idempotencyKey })
const again = await submit({ message: 'Tell me', conversation_id: 'tale' }, { ...options, idempotencyKey })
found.isOneRequest = first.request_id === again.request_id

const answer = await follow({ requestId: first.request_id, ...options }).closed
found.answer = [answer.status, answer.text]

found.conversation = await new Promise((resolve) => {
  const follower = follow({
    conversationId: 'tale', ...options, state: newConversation('tale'),
    onState: ({ requests: [request] }) => {
      if (request?.status === 'completed' && follower.connection.status === 'open') follower.close()
    },
  })
  resolve(follower.closed.then(({ requests }) => requests.map(({ text }) => text)))
})
found.turns = (await readConversation('tale', options)).turns.map(({ answered }) => answered)

const endless = await submit({ message: 'endless' }, options)
const endlessFollower = follow({
  requestId: endless.request_id, ...options,
  onState: ({ text, status }) => { if (text === 'half' && status === 'running') cancel(endless.request_id, options) },
})
const stopped = await endlessFollower.closed
found.stopped = [stopped.status, stopped.text]

const refusal = await follow({ requestId: first.request_id, baseUrl, apiKey: 'wrong' }).closed.catch((error) => error)
found.refusal = [refusal instanceof TickertapeError, refusal.status]
found.hasRoles = (await listRoles(options)).length > 0
found.globals = typeof EventSource

console.log(JSON.stringify(found))
