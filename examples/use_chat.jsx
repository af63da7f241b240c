// `useChat` of the AI SDK 7 on Tickertape: an answer is cut by the network, outlives a reload of the page and the death of a
// worker, and stops for everybody. docs/usechat.md builds the page around it.
//
// npm install react react-dom ai@7 @ai-sdk/react@4 @ai-sdk/workflow@2

import { useChat } from '@ai-sdk/react';
import { WorkflowChatTransport } from '@ai-sdk/workflow/client';

/** A transport to Tickertape that reconnects by itself, behind the last chunk that it got. */
export function transportTo(server = '') {
  return new WorkflowChatTransport({
    api: `${server}/api/v7/chat`,
    maxConsecutiveErrors: 10,
    prepareSendMessagesRequest: ({ id, messages, body, trigger, messageId }) => ({
      headers: { 'Content-Type': 'application/json' },
      body: { id, messages, trigger, messageId, ...body },
    }),
  });
}

/** The messages that Tickertape remembers of a chat. */
export async function history(id, server = '') {
  const answer = await fetch(`${server}/conversations/${encodeURIComponent(id)}`);
  if (answer.status === 404) return [];
  const { turns } = await answer.json();
  const message = (id, role, text) => ({ id, role, parts: [{ type: 'text', text }] });
  const textOf = (content) =>
    typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('');
  return turns.flatMap(({ request_id, asked, answered }) => [
    ...asked.map(({ content }, n) => message(`asked_${request_id}_${n}`, 'user', textOf(content))),
    ...(answered ? [message(`msg_${request_id}`, 'assistant', answered)] : []),
  ]);
}

export function Chat({ id, messages: before, server = '' }) {
  const { messages, sendMessage, status, error } = useChat({
    id,
    messages: before,
    transport: transportTo(server),
    resume: true,
  });
  const stop = () => fetch(`${server}/api/v7/chat/${encodeURIComponent(id)}/stop`, { method: 'POST' });
  const send = (event) => {
    event.preventDefault();
    sendMessage({ text: new FormData(event.target).get('question') });
    event.target.reset();
  };
  const text = ({ parts }) => parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
  return (
    <>
      {messages.map((message) => (
        <p key={message.id} data-role={message.role}>{text(message)}</p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send} data-status={status}>
        <input name="question" aria-label="Question" />
        <button>Send</button>
        <button type="button" onClick={stop} disabled={status === 'ready'}>Stop</button>
      </form>
    </>
  );
}
