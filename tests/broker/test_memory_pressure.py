"""Redis out of memory: nothing new is taken, and what runs can end, which is what frees memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.broker.partition import Partition
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable


@pytest.fixture
async def real(redis_url: str) -> AsyncIterator[Partition]:
    connections = Connections(redis_url)
    yield Partition(connections.commands, shebang=True)
    await connections.aclose()


@asynccontextmanager
async def no_memory(partition: Partition) -> AsyncIterator[None]:
    await partition.client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await partition.client.config_set("maxmemory", "0")


async def test_what_takes_memory_is_refused_whole(real: Partition) -> None:
    await real.submit("a", conv="talk")
    await real.submit("b")
    go = await real.take()
    async with real.unchanged(), no_memory(real):
        with pytest.raises(Unavailable):
            await real.submit("c", idem="k")
        with pytest.raises(Unavailable):
            await real.submit("c", conv="talk", on_busy="replace")
        with pytest.raises(Unavailable):
            await real.claim()
        with pytest.raises(Unavailable):
            await real.append(go, 1, "x")
        with pytest.raises(Unavailable):
            await real.reopen(go)
    assert await real.append(go, 1, "x") == ("OK", 1)
    assert (await real.take()).id == "b"


async def test_what_runs_can_be_kept_and_ended(real: Partition) -> None:
    for id_ in ("finished", "cancelled", "delayed", "released", "queued"):
        await real.submit(id_, conv="talk" if id_ == "finished" else "")
    gone = {go.id: go for go in [await real.take() for _ in range(4)]}
    assert set(gone) == {"finished", "cancelled", "delayed", "released"}
    async with no_memory(real):
        assert await real.renew(gone["finished"]) == ("OK", "")
        assert await real.account(gone["finished"], "{}") == ("OK", "")
        assert await real.finish(gone["finished"], 1, "x", answered='"x"') == ("OK", 2)
        assert await real.cancel("cancelled") == ("OK", "cancelled")
        assert await real.cancel("queued") == ("OK", "cancelled")
        assert await real.retry(gone["delayed"]) == ("OK", "")
        assert await real.release(gone["released"]) == ("OK", "")
        assert await real.position("released") == 0
        assert await real.erase("cancelled") == ("OK", "")
        assert await real.forget("talk") == ("OK", 1)
    assert (await real.take()).id == "released"
