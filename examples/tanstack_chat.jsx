// `useChat` of TanStack AI on Tickertape: an answer outlives a lost connection, a reload of the page and the death of a worker,
// and stops for everybody. docs/tanstack.md builds the page around it.
//
// npm install react react-dom @tanstack/ai-react

import { fetchServerSentEvents, useChat } from '@tanstack/ai-react';
import { useMemo } from 'react';

export function Chat({ threadId, server = '', model }) {
  const connection = useMemo(() => fetchServerSentEvents(`${server}/agui`, { body: { model } }), [server, model]);
  const { messages, sendMessage, status, error } = useChat({ threadId, persistence: true, connection });
  const isBusy = status === 'submitted' || status === 'streaming';
  const send = (event) => {
    event.preventDefault();
    sendMessage(new FormData(event.target).get('question'));
    event.target.reset();
  };
  const stop = () =>
    fetch(`${server}/agui/stop`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ threadId }),
    });
  const text = ({ parts }) => parts.map((part) => (part.type === 'text' ? part.content : '')).join('');
  return (
    <>
      {messages.map((message) => (
        <p key={message.id} data-role={message.role}>{text(message)}</p>
      ))}
      {error && <p role="alert">{error.message}</p>}
      <form onSubmit={send} data-status={status}>
        <input name="question" aria-label="Question" />
        <button>Send</button>
        <button type="button" onClick={stop} disabled={!isBusy}>Stop</button>
      </form>
    </>
  );
}
