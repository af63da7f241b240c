"""Streams that were handed over, and whose clients do not read: what they hold in memory."""

import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import uvloop

from tests.support.memory import resident_mib
from tests.support.raw import call, raw_connection
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until


@pytest.fixture
async def patient(redis_url: str) -> AsyncIterator[RunningApi]:
    """An API with long heartbeats, which drops no stalled reader within a test."""
    async with running_api(redis_url) as api:
        yield api


@contextlib.asynccontextmanager
async def deaf_readers(api: RunningApi, path: str, count: int) -> AsyncIterator[None]:
    """Connections that read the head of an answer and no more, with small buffers of the kernel."""
    async with contextlib.AsyncExitStack() as readers:
        for _ in range(count):
            before = set(api.server.doorway._guests)
            deaf = await readers.enter_async_context(raw_connection(api.url, receives=4096))
            await wait_until(
                lambda: api.server.doorway._guests - before,  # noqa: B023  called at once
                description="the server accepts",
            )
            for guest in api.server.doorway._guests - before:
                connected = guest.transport.get_extra_info("socket")  # type: ignore[attr-defined]  # as uvicorn has it
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await deaf.send(call("GET", path))
            await deaf.until(b"HTTP/1.1 200")
        yield


def test_a_huge_question_is_in_memory_once_for_all_streams_that_do_not_read_it(
    redis_url: str,
) -> None:
    # The loop that servers have. That of Python 3.11 copies what a socket does not take.
    uvloop.run(hold_a_huge_question(redis_url))


async def hold_a_huge_question(redis_url: str) -> None:
    size = 10_000_000
    question = [{"role": "user", "content": "x" * size}]
    async with running_api(redis_url) as api, open_rig(redis_url) as worker:
        path = f"/chat/{await worker.submit(conversation_id='c', question=question)}/stream"
        full = api.server.doorway._full
        async with raw_connection(api.url, call("GET", path)) as first:
            await first.until(b"xxx")
            before_mib = resident_mib()
            async with deaf_readers(api, path, 30):
                await wait_until(lambda: len(full) >= 30, description="all sockets are full")
                assert resident_mib() - before_mib < 10 * size / 2**20
        await wait_until(lambda: not full, description="all have left")


async def test_snapshots_that_are_not_read_are_cut_beyond_the_bound_of_all_answers(
    patient: RunningApi, worker: Rig
) -> None:
    size, doorway = 3_000_000, patient.server.doorway
    doorway.bounds = replace(doorway.bounds, unread_bytes=2 * size)
    path = f"/chat/{await worker.begin()}/stream?snapshot=true"
    await worker.type("x" * size)
    async with deaf_readers(patient, path, 5):
        await wait_until(lambda: doorway.refusals["answers_unread"], description="some are cut")
        assert sum(each.own_unsent_bytes() for each in doorway._full) <= 2 * size
    async with raw_connection(patient.url, call("GET", path)) as reading:
        await reading.until(b'"status":"running"')


async def test_readers_of_the_snapshot_of_a_finished_log_share_its_bytes(
    patient: RunningApi, worker: Rig
) -> None:
    path, full = f"/chat/{await worker.begin()}/stream?snapshot=true", patient.server.doorway._full
    await worker.type("x" * 3_000_000)
    await worker.finish()
    async with deaf_readers(patient, path, 3):
        await wait_until(lambda: len(full) == 3, description="all sockets are full")
        assert sum(each.own_unsent_bytes() for each in full) < 1000
    async with raw_connection(patient.url, call("GET", path)) as reading:
        whole = await reading.until_closed()
    assert whole.count(b"event: snapshot") == whole.count(b"event: completed") == 1
