"""A client that sends without end behind its stream: it costs no work, and its leaving is seen."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support.raw import RawConnection, call, raw_connection
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.stage import Stage
from tests.support.wait import wait_until

# More than the buffers of both kernels hold, which is at most 10 MB here.
FLOOD = bytes(64_000_000)


async def flood(reader: RawConnection) -> None:
    """Send until nothing is taken any more."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await reader.send(FLOOD)


async def test_at_most_a_megabyte_is_read_of_what_comes_behind_a_call() -> None:
    transport = Stage().join()
    assert transport.protocol is not None
    for _ in range(16):
        transport.protocol.data_received(bytes(65_536))
        assert transport.is_reading
    transport.protocol.data_received(b"x")
    assert not transport.is_reading


@contextlib.asynccontextmanager
async def flooded_stream(api: RunningApi, worker: Rig) -> AsyncIterator[RawConnection]:
    """A reader of a stream that has sent more behind its call than is read."""
    request_id = await worker.begin()
    async with raw_connection(api.url, call("GET", f"/chat/{request_id}/stream")) as reader:
        await worker.type("before")
        await reader.until(b"before")
        await flood(reader)
        yield reader


async def test_a_flood_behind_a_stream_is_not_read_and_the_stream_goes_on(
    api: RunningApi, worker: Rig
) -> None:
    async with flooded_stream(api, worker) as reader:
        await worker.type("after")
        await reader.until(b"after")
        await worker.finish()
        await reader.until(b"\r\n0\r\n\r\n")


async def test_a_client_that_leaves_behind_its_flood_is_noticed(
    api: RunningApi, worker: Rig
) -> None:
    async with flooded_stream(api, worker):
        assert api.services.streams.open_streams == 1
    await wait_until(
        lambda: api.services.streams.open_streams == 0, description="the connection is closed"
    )
