// CopilotKit's runtime on Tickertape: a page of CopilotKit calls the runtime, and the runtime calls `POST /agui`. The runtime
// keeps nothing. It may be restarted in mid-answer, and several of them may serve one page. docs/copilotkit.md has the page.
//
// npm install @copilotkit/runtime @ag-ui/client@0.0.59 rxjs
// TICKERTAPE_URL=http://127.0.0.1:8000 node copilotkit_runtime.mjs

import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';
import { HttpAgent, runHttpRequest, transformHttpEventStream } from '@ag-ui/client';
import { AgentRunner, CopilotRuntime } from '@copilotkit/runtime/v2';
import { createCopilotNodeListener } from '@copilotkit/runtime/v2/node';
import { catchError, defer, Observable, of, switchMap } from 'rxjs';
import { resumingFetch } from './agui_fetch.mjs';

/** Runs, joins and stops the runs of Tickertape, where CopilotKit's own runner would keep them in memory. */
export class TickertapeRunner extends AgentRunner {
  constructor({ server, headers = {} }) {
    super();
    this.url = `${server}/agui`;
    this.headers = headers;
  }

  /** A page asks. The run goes on at Tickertape when the page leaves. */
  run({ agent, input }) {
    return new Observable((page) => {
      agent
        .runAgent(input, { onEvent: ({ event }) => page.next(event) })
        .catch((error) => page.next(failed(error)))
        .finally(() => page.complete());
      return () => agent.abortRun();
    });
  }

  /** A page is loaded: the messages of its thread, and the answer that is being written. */
  connect({ threadId, headers }) {
    const init = { headers: { ...headers, ...this.headers } };
    return defer(() => this.#thread(threadId, init)).pipe(
      switchMap(({ messages, activeRun }) => {
        if (!activeRun) return messages.length ? shown(threadId, messages) : of();
        const url = `${this.url}?${new URLSearchParams(activeRun)}`;
        return transformHttpEventStream(runHttpRequest(() => resumingFetch()(url, init)));
      }),
      catchError((error) => of(failed(error))),
    );
  }

  async isRunning({ threadId }) {
    return Boolean((await this.#thread(threadId, { headers: this.headers })).activeRun);
  }

  /** Someone presses Stop: the answer ends for everybody. */
  async stop({ threadId, runId }) {
    const headers = { 'Content-Type': 'application/json', ...this.headers };
    const body = JSON.stringify({ threadId, runId });
    return (await fetch(`${this.url}/stop`, { method: 'POST', headers, body })).ok;
  }

  async #thread(threadId, init) {
    const answer = await fetch(`${this.url}?${new URLSearchParams({ threadId })}`, init);
    if (!answer.ok) throw new Error(`HTTP ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }
}

const failed = ({ message }) => ({ type: 'RUN_ERROR', message });

function shown(threadId, kept) {
  const run = { threadId, runId: crypto.randomUUID() };
  const textOf = (parts) => parts.map(({ content }) => content).join('');
  const messages = kept.map(({ id, role, parts }) => ({ id, role, content: textOf(parts) }));
  return of({ type: 'RUN_STARTED', ...run }, { type: 'MESSAGES_SNAPSHOT', messages }, { type: 'RUN_FINISHED', ...run });
}

/** A listener for `http.createServer`. `model` names a function or a model of Tickertape. */
export function runtimeOn({ server, key, model, basePath = '/copilotkit', cors }) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const query = model ? `?${new URLSearchParams({ model })}` : '';
  const agent = new HttpAgent({ url: `${server}/agui${query}`, headers, fetch: resumingFetch() });
  const runtime = new CopilotRuntime({
    agents: { default: agent },
    runner: new TickertapeRunner({ server, headers }),
  });
  return createCopilotNodeListener({ runtime, basePath, cors });
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { TICKERTAPE_URL, TICKERTAPE_API_KEY, MODEL, PORT = '4000', ORIGIN = 'http://127.0.0.1:5173' } = process.env;
  const cors = { origin: ORIGIN };
  const listener = runtimeOn({ server: TICKERTAPE_URL, key: TICKERTAPE_API_KEY, model: MODEL, cors });
  const listening = createServer(listener).listen(Number(PORT), '127.0.0.1', () => {
    console.log(`http://127.0.0.1:${listening.address().port}/copilotkit`);
  });
}
