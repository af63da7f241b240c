"""An API process is told to end while many read: they lose nothing and are not kept waiting."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Figure
from tests.e2e.deployment import Caller, Deployment, port_of
from tests.e2e.reading import Curl, curl
from tests.support.script import Finish, Text, Wait
from tests.support.sse import Event, SseParser, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = pytest.mark.slow

READERS = 50


async def test_an_api_told_to_end_lets_go_of_fifty_readers_who_all_read_on(
    deployment: Deployment, upstream: ScriptedUpstream, tmp_path: Path, figure: Figure
) -> None:
    rest = asyncio.Event()
    upstream.script = [Text("before "), Text("the end, "), Wait(rest), Text("after it"), Finish()]
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller:
        request_id = await caller.submit()
        stream = caller.stream_url(request_id)
        async with curls(stream, tmp_path, "first", [None] * READERS) as readers:
            for reader in readers:
                await _shows(reader, "before the end, ")
            told_at_s = time.monotonic()
            api.signal(signal.SIGTERM)
            assert await api.ended() == 0
            took_s = time.monotonic() - told_at_s
            codes = [await reader.ended() for reader in readers]
        figure(f"ended with {READERS} readers after (s, bound 1)", round(took_s, 2))
        assert took_s < 1
        assert codes == [0] * READERS
        seen = [_parsed(reader) for reader in readers]
        assert {parser.retry_ms is not None for parser, _ in seen} == {True}
        # Not all in the same instant.
        assert len({parser.retry_ms for parser, _ in seen}) > READERS / 2

        await deployment.running_api(port=port_of(url))
        cursors = [events[-1].cursor for _, events in seen]
        async with curls(stream, tmp_path, "second", cursors) as readers:
            rest.set()
            codes = [await reader.ended() for reader in readers]
        assert codes == [0] * READERS
        record = await caller.read(request_id)
        for (_, first), reader in zip(seen, readers, strict=True):
            _, second = _parsed(reader)
            assert text_of(first + second) == record["text"] == "before the end, after it"
            assert [event.kind for event in second] == ["delta", "completed"]


async def _shows(reader: Curl, text: str) -> None:
    await wait_until(lambda: text_of(reader.events()) == text, description=f"curl to get {text!r}")


def _parsed(reader: Curl) -> tuple[SseParser, list[Event]]:
    """What was sent, which has to be whole frames."""
    parser = SseParser()
    events = parser.feed(reader.sent)
    parser.close()
    return parser, events


@asynccontextmanager
async def curls(
    url: str, directory: Path, name: str, cursors: list[str | None]
) -> AsyncIterator[list[Curl]]:
    """One reader for each cursor, from the beginning for None."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(
                curl(url, directory / f"{name}-{n}", {"Last-Event-ID": cursor} if cursor else {})
            )
            for n, cursor in enumerate(cursors)
        ]
