"""Cancelling an answer closes the upstream's connection, wherever it is, and at once."""

import asyncio
import contextlib
import gc
import sys
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.script import Finish, Headers, Pause, Role, Script, Text
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.tally import Tally

PAYLOAD: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
FOREVER = Pause(3600)
AT_ONCE_S = 1.0  # a few ms, and room for a busy machine; far below every limit of a stream


@pytest.fixture
async def client(upstream: ScriptedUpstream) -> AsyncIterator[Upstream]:
    async with Upstream(upstream.base_url) as client:
        yield client


class Reader:
    """An answer that a separate task reads."""

    def __init__(self, client: Upstream, upstream: ScriptedUpstream) -> None:
        self.tally = Tally()
        self._client = client
        self._upstream = upstream
        self._task = asyncio.create_task(self._read())
        self.hold: asyncio.Event | None = None
        self.is_held = False

    @property
    def call(self) -> Call | None:
        return self._upstream.calls[0] if self._upstream.calls else None

    async def _read(self) -> None:
        async with self._client.stream(PAYLOAD, self.tally) as stream:
            async for _ in stream:
                if self.hold is not None:
                    self.is_held = True
                    await self.hold.wait()

    async def cancelled(self) -> float:
        """Cancel, and tell how long after that the upstream saw its client leave, in seconds."""
        started_s = time.monotonic()
        self._task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._task
        call = self.call
        assert call is not None
        await wait_until(call.closed.is_set, description="the upstream sees its client leave")
        assert call.closed_at_s is not None
        return call.closed_at_s - started_s


@pytest.mark.parametrize(
    ("script", "is_there"),
    [
        pytest.param([FOREVER], lambda call, tally: True, id="waiting for the head"),
        pytest.param([Headers(), FOREVER], lambda call, tally: True, id="before the first byte"),
        pytest.param(
            [Role(), Text("a"), FOREVER], lambda call, tally: tally.deltas == 1, id="in mid-stream"
        ),
        pytest.param(
            [Text("a"), Finish(), FOREVER],
            lambda call, tally: tally.finish_reason is not None,
            id="waiting for usage",
        ),
    ],
)
async def test_the_upstreams_connection_closes_at_once(
    upstream: ScriptedUpstream,
    client: Upstream,
    script: Script,
    is_there: Callable[[Call, Tally], bool],
) -> None:
    upstream.enqueue(script)
    reader = Reader(client, upstream)
    await wait_until(
        lambda: reader.call is not None and is_there(reader.call, reader.tally),
        description="the answer to be where it is cancelled",
    )
    assert await reader.cancelled() < AT_ONCE_S


async def test_it_closes_too_while_the_reader_is_busy_with_what_it_got(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue([Text("a"), FOREVER])
    reader = Reader(client, upstream)
    reader.hold = asyncio.Event()
    await wait_until(lambda: reader.is_held, description="the reader to be busy")
    assert await reader.cancelled() < AT_ONCE_S


async def test_it_closes_too_while_the_upstream_writes_as_fast_as_it_can(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue([Text("x" * 1000)] * 100_000)
    reader = Reader(client, upstream)
    await wait_until(lambda: reader.tally.deltas > 10, description="some output")
    assert await reader.cancelled() < AT_ONCE_S


async def _leave(client: Upstream) -> None:
    async with client.stream(PAYLOAD, Tally()) as stream:
        async for _ in stream:
            break


async def _never_read(client: Upstream) -> None:
    async with client.stream(PAYLOAD, Tally()):
        pass


async def _fail(client: Upstream) -> None:
    with contextlib.suppress(KeyError):
        async with client.stream(PAYLOAD, Tally()) as stream:
            async for _ in stream:
                raise KeyError


@pytest.mark.parametrize("leave", [_leave, _never_read, _fail])
async def test_leaving_the_block_closes_the_connection(
    upstream: ScriptedUpstream, client: Upstream, leave: Callable[[Upstream], Awaitable[None]]
) -> None:
    abandoned: list[object] = []
    hooks = sys.get_asyncgen_hooks()
    upstream.enqueue([Role(), Text("a"), FOREVER])
    sys.set_asyncgen_hooks(finalizer=abandoned.append)
    try:
        await leave(client)
        gc.collect()
    finally:
        sys.set_asyncgen_hooks(*hooks)
    left_at_s = time.monotonic()
    assert not abandoned, "a generator was left to the garbage collector"
    call = upstream.calls[0]
    await wait_until(call.closed.is_set, description="the upstream sees its client leave")
    assert call.closed_at_s is not None
    assert call.closed_at_s - left_at_s < AT_ONCE_S


async def test_the_loop_does_not_hold_a_stream_that_was_left_until_its_limits_end(
    client: Upstream,
) -> None:
    stream = client.stream(PAYLOAD, Tally())
    async with stream:
        assert len([batch async for batch in stream]) == 1
    left = weakref.ref(stream._watchdog)
    del stream
    gc.collect()
    assert left() is None


async def test_the_client_goes_on_with_other_answers_after_a_cancel(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue([Text("a"), FOREVER])
    reader = Reader(client, upstream)
    await wait_until(lambda: reader.tally.deltas == 1, description="some output")
    await reader.cancelled()
    tally = Tally()
    async with client.stream(PAYLOAD, tally) as stream:
        async for _ in stream:
            pass
    assert tally.text == "Hello, world."


async def test_a_second_cancel_while_closing_does_no_harm(
    upstream: ScriptedUpstream, client: Upstream
) -> None:
    upstream.enqueue([Text("a"), FOREVER])
    reader = Reader(client, upstream)
    await wait_until(lambda: reader.tally.deltas == 1, description="some output")
    asyncio.get_running_loop().call_soon(reader._task.cancel)
    assert await reader.cancelled() < AT_ONCE_S
