"""An API process is stopped while many read. Readers lose nothing and do not wait."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.curl import Curl, curl
from tests.support.callers import Caller
from tests.support.deployment import Deployment, port_of
from tests.support.script import Finish, Text, Wait
from tests.support.sse import Event, SseParser, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

READERS_OF_REQUEST, READERS_OF_CONVERSATION = 40, 10
BEFORE, AFTER = "before the end, ", "after it"


async def test_a_stopping_api_releases_fifty_readers_which_all_read_on(
    deployment: Deployment, upstream: ScriptedUpstream, tmp_path: Path, figure: Figure
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("before "), Text("the end, "), Wait(rest), Text(AFTER), Finish()]
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller:
        request_id = await caller.submit(conversation_id="c")
    urls = [f"{url}/chat/{request_id}/stream"] * READERS_OF_REQUEST
    urls += [f"{url}/conversations/c/stream"] * READERS_OF_CONVERSATION

    async with curls(urls, tmp_path / "first") as readers:
        for reader in readers:
            await _shows(reader, [], BEFORE)
        told_at_s = time.monotonic()
        api.signal(signal.SIGTERM)
        assert await api.ended() == 0
        took_s = time.monotonic() - told_at_s
        assert [await reader.ended() for reader in readers] == [0] * len(urls)
    figure(f"ended with {len(urls)} readers after (s, bound 1)", round(took_s, 2))
    assert took_s < 1
    seen = [_whole(reader) for reader in readers]
    # They come back, and not all in the same instant.
    delays_ms = {parser.retry_ms for parser, _ in seen}
    assert None not in delays_ms
    assert len(delays_ms) > len(urls) / 2

    await deployment.running_api(port=port_of(url))
    cursors = [events[-1].cursor for _, events in seen]
    async with curls(urls, tmp_path / "second", cursors) as readers:
        rest.set()
        for (_, first), reader in zip(seen, readers, strict=True):
            await _shows(reader, first, BEFORE + AFTER)
            kinds = [event.kind for event in reader.events()]
            # Notices are sent to each reader that comes.
            assert [kind for kind in kinds if kind not in {"watchers", "title"}] == [
                "delta",
                "completed",
            ]
        # A conversation's stream stays open for the next question.
        ends = [await reader.ended() for reader in readers[:READERS_OF_REQUEST]]
        assert ends == [0] * READERS_OF_REQUEST


async def _shows(reader: Curl, earlier: list[Event], text: str) -> None:
    """Wait until what was sent earlier and what this reader got say this and no more."""

    def does() -> bool:
        events = earlier + reader.events()
        # Notices, such as the number of watchers, may follow the end.
        is_over = text == BEFORE or any(event.kind == "completed" for event in events)
        return is_over and text_of(events) == text

    await wait_until(does, description=f"curl to get {text!r}")


def _whole(reader: Curl) -> tuple[SseParser, list[Event]]:
    """What was sent, which has to be whole frames."""
    parser = SseParser()
    events = parser.feed(reader.sent)
    parser.close()
    return parser, events


@asynccontextmanager
async def curls(
    urls: list[str], directory: Path, cursors: list[str | None] | None = None
) -> AsyncIterator[list[Curl]]:
    """A reader of each URL: from its cursor on, or from the beginning."""
    directory.mkdir()
    async with AsyncExitStack() as stack:
        readers = []
        for n, (url, cursor) in enumerate(zip(urls, cursors or [None] * len(urls), strict=True)):
            headers = {"Last-Event-ID": cursor} if cursor else {}
            readers.append(await stack.enter_async_context(curl(url, directory / str(n), headers)))
        yield readers
