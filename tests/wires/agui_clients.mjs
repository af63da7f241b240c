// AG-UI's clients against a running API. Asks one question with the client that the arguments name, and prints what
// it shows as JSON: the messages with their roles and texts, and the error if there is one.

import { HttpAgent } from '@ag-ui/client';

// The agent cancels the body of a lost connection once more, and nothing handles that error.
process.on('unhandledRejection', () => {});

const [name, question] = process.argv.slice(2);
const url = `${process.env.TICKERTAPE_URL}/agui`;
const { STOP_AT } = process.env;
const THREAD = process.env.THREAD || crypto.randomUUID();
const forwarded = JSON.parse(process.env.FORWARDED ?? '{}');

function textOf(content) {
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => part.text ?? part.content ?? '').join('');
}

async function tanstackClient(options = {}) {
  const { ChatClient, fetchServerSentEvents } = await import('@tanstack/ai-client');
  let failed;
  const connection = fetchServerSentEvents(url, { body: forwarded, reconnect: { delayMs: 5 } });
  const onError = (error) => { failed = error; };
  const client = new ChatClient({ threadId: THREAD, connection, onError, ...options });
  const isText = ({ type }) => type === 'text';
  const shown = () => client.getMessages().map(({ role, parts }) => [role, textOf(parts.filter(isText))]);
  const finish = () => {
    if (failed) throw failed;
    return shown();
  };
  return { client, shown, finish };
}

const clients = {
  async 'ag-ui'(fetch) {
    const agent = new HttpAgent({ url, fetch, initialMessages: [{ id: 'u', role: 'user', content: question }] });
    await agent.runAgent({ forwardedProps: forwarded });
    return agent.messages.map(({ role, content }) => [role, textOf(content)]);
  },

  // The agent comes back by itself: lost connections are hidden from it.
  async 'ag-ui-resuming'() {
    const { resumingFetch } = await import('./agui_fetch.mjs');
    return clients['ag-ui'](resumingFetch({ pauseMs: 5 }));
  },

  // A connection is lost, and the page runs the same run again.
  async 'ag-ui-again'() {
    const agent = new HttpAgent({ url, initialMessages: [{ id: 'u', role: 'user', content: question }] });
    const runId = crypto.randomUUID();
    for (let tries = 0; ; tries += 1) {
      try {
        await agent.runAgent({ runId, forwardedProps: forwarded });
        return agent.messages.map(({ role, content }) => [role, textOf(content)]);
      } catch (error) {
        if (tries > 200 || error.status) throw error;
      }
    }
  },

  async tanstack() {
    const { client, shown, finish } = await tanstackClient();
    const ends = setInterval(() => {
      if (!STOP_AT || !shown().at(-1)?.[1].endsWith(STOP_AT)) return;
      clearInterval(ends);
      const headers = { 'Content-Type': 'application/json' };
      fetch(`${url}/stop`, { method: 'POST', headers, body: JSON.stringify({ threadId: THREAD }) });
    }, 5);
    await client.sendMessage(question);
    clearInterval(ends);
    return finish();
  },

  // A page that is loaded while the answer is written, and knows nothing but its thread.
  async 'tanstack-restored'() {
    const { client, finish } = await tanstackClient({ persistence: true });
    client.attach(); // as `useChat` does when the page is there
    while (client.getStatus() !== 'streaming') await new Promise((done) => setTimeout(done, 5));
    console.log('restored');
    while (client.getStatus() === 'streaming') await new Promise((done) => setTimeout(done, 5));
    return finish();
  },

  async copilotkit() {
    const { CopilotKitCore } = await import('@copilotkit/core');
    const agent = new HttpAgent({ url });
    const core = new CopilotKitCore({ agents__unsafe_dev_only: { default: agent }, properties: forwarded });
    agent.addMessage({ id: 'u', role: 'user', content: question });
    let failed;
    core.subscribe({ onError: ({ error }) => { failed = error; } });
    await core.runAgent({ agent });
    if (failed) throw failed;
    return agent.messages.map(({ role, content }) => [role, textOf(content)]);
  },

  async 'assistant-ui'() {
    // The engine of `useAgUiRuntime`, which is a hook and needs a page.
    const file = './node_modules/@assistant-ui/react-ag-ui/dist/runtime/AgUiThreadRuntimeCore.js';
    const { AgUiThreadRuntimeCore } = await import(file);
    let failed;
    const logger = { debug() {}, error() {}, warn() {} };
    const engine = new AgUiThreadRuntimeCore({
      agent: new HttpAgent({ url }),
      logger,
      showThinking: true,
      notifyUpdate() {},
      onError: (error) => { failed = error; },
    });
    await engine.append({
      parentId: null,
      role: 'user',
      content: [{ type: 'text', text: question }],
      runConfig: { custom: forwarded },
      startRun: true,
    });
    if (failed) throw failed;
    return engine.getMessages().map(({ role, content }) => [role, textOf(content)]);
  },
};

try {
  console.log(JSON.stringify({ messages: await clients[name](fetch) }));
} catch (error) {
  console.log(JSON.stringify({ error: `${error.name}: ${error.message}` }));
}
process.exit(0);
