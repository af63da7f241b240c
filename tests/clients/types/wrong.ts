// What a user may not write: each line after such a comment must be refused, or the comment itself is an error.
import { cancel, follow, newRequest, submit, type RequestState } from 'tickertape-client'

// @ts-expect-error: no such field
submit({ text: 'Hi' })
// @ts-expect-error: no such choice
submit({ message: 'Hi', on_busy: 'wait' })
// @ts-expect-error: the wrong type
submit({ message: 'Hi', temperature: '1' })
// @ts-expect-error: neither a request nor a conversation
follow({ onState: () => {} })
// @ts-expect-error: both of them
follow({ requestId: 'r', conversationId: 'c' })
// @ts-expect-error: a request has no requests
follow({ requestId: 'r', onState: ({ requests }: { requests: string[] }) => requests })
// @ts-expect-error: only a conversation expects
follow({ requestId: 'r' }).expect('r')
// @ts-expect-error: a state is never changed
newRequest('r').text = 'x'
// @ts-expect-error: no such field of a state
follow({ requestId: 'r', onState: ({ texts }) => texts })
// @ts-expect-error: no such status
const over = newRequest('r').status === 'done'
// @ts-expect-error: the id is a text
cancel(7)
// @ts-expect-error: the last state comes later
const state: RequestState = follow({ requestId: 'r' }).closed
console.log(over, state)
