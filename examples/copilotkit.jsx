// A page of CopilotKit on Tickertape, behind the runtime of copilotkit_runtime.mjs: an answer outlives a reload of the page, a
// lost connection and the death of a worker, and the Stop button ends it for everybody. docs/copilotkit.md builds the page.
//
// npm install react react-dom @copilotkit/react-core

import { CopilotChat, CopilotKitProvider, useAgent, useCopilotKit } from '@copilotkit/react-core/v2';
import '@copilotkit/react-core/v2/styles.css';
import { useEffect } from 'react';

// What CopilotKit reports when the connection to the runtime breaks.
const LOST = ['agent_run_failed', 'agent_connect_failed'];

export function Support({ runtimeUrl, threadId }) {
  return (
    <CopilotKitProvider runtimeUrl={runtimeUrl}>
      <Chat threadId={threadId} />
    </CopilotKitProvider>
  );
}

function Chat({ threadId, pauseMs = 1000 }) {
  const { copilotkit } = useCopilotKit();
  const { agent, isReady } = useAgent();
  useEffect(() => {
    let pause;
    const { unsubscribe } = copilotkit.subscribe({
      // CopilotKit does not come back by itself after a lost connection. Joining the thread again shows its messages.
      onError: ({ code }) => {
        if (!LOST.includes(code)) return;
        clearTimeout(pause);
        pause = setTimeout(() => copilotkit.connectAgent({ agent }), pauseMs);
      },
    });
    return () => {
      clearTimeout(pause);
      unsubscribe();
    };
  }, [copilotkit, agent, pauseMs]);
  // A question that is sent before the runtime has answered would be lost.
  return isReady && <CopilotChat threadId={threadId} />;
}
