// A `fetch` for `@ag-ui/client` that comes back after a lost connection: the agent never sees the loss.
//
//   new HttpAgent({ url: 'http://127.0.0.1:8000/agui', fetch: resumingFetch() })
//
// Events arrive in groups, of which the last one has an `id:`. Only whole groups reach the agent, and a new call asks for
// what follows the last id. A call that the server refuses ends the run with an error.

const OVER = /^data: ?\{"type":"RUN_(FINISHED|ERROR)"/m;

export function resumingFetch({ pauseMs = 500, tries = 60, fetch = globalThis.fetch } = {}) {
  return async (url, init) => {
    const first = await fetch(url, init);
    if (!first.ok) return first;
    const groups = groupsOf(first, { url, init, pauseMs, tries, fetch });
    return new Response(ReadableStream.from(groups), { headers: { 'Content-Type': 'text/event-stream' } });
  };
}

async function* groupsOf(response, { url, init, pauseMs, tries, fetch }) {
  const bytes = new TextEncoder();
  let lastId = null;
  let left = tries;
  while (true) {
    try {
      for await (const group of wholeGroups(response.body)) {
        left = tries;
        lastId = group.match(/^id: ?(.*)$/m)?.[1] ?? lastId;
        yield bytes.encode(group);
        if (OVER.test(group)) return;
      }
    } catch (error) {
      if (init?.signal?.aborted) throw error;
    }
    if (left === 0) throw new Error('The connection was lost.');
    left -= 1;
    await new Promise((done) => setTimeout(done, pauseMs));
    // Without an id, the agent has got nothing yet. The same call joins the run that the first call has begun.
    const headers = { ...init?.headers, ...(lastId !== null && { 'Last-Event-ID': lastId }) };
    response = await fetch(url, { ...init, headers }).catch(() => new Response(null));
    if (!response.ok) throw new Error(`HTTP ${response.status}: ${await response.text()}`);
  }
}

async function* wholeGroups(body) {
  let unread = '';
  let group = '';
  for await (const text of body?.pipeThrough(new TextDecoderStream()) ?? []) {
    const events = (unread + text).split('\n\n');
    unread = events.pop();
    for (const event of events) {
      group += `${event}\n\n`;
      if (!/^id:/m.test(event) && !OVER.test(event)) continue;
      yield group;
      group = '';
    }
  }
}
