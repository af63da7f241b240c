"""Redis out of memory: nothing new is taken, and what runs can end, which is what frees memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.broker.partition import Partition
from tickertape.broker.errors import Unavailable


@asynccontextmanager
async def no_memory(partition: Partition) -> AsyncIterator[None]:
    await partition.client.config_set("maxmemory", "1")
    try:
        yield
    finally:
        await partition.client.config_set("maxmemory", "0")


async def test_a_call_that_takes_memory_is_refused_and_changes_nothing(
    partition: Partition,
) -> None:
    await partition.submit("a", conv="talk")
    await partition.submit("b")
    go = await partition.take()
    async with partition.unchanged(), no_memory(partition):
        with pytest.raises(Unavailable):
            await partition.submit("c", idem="k")
        with pytest.raises(Unavailable):
            await partition.submit("c", conv="talk", on_busy="replace")
        with pytest.raises(Unavailable):
            await partition.claim()
        with pytest.raises(Unavailable):
            await partition.append(go, 1, "x")
        with pytest.raises(Unavailable):
            await partition.reopen(go)
    assert await partition.append(go, 1, "x") == ("OK", 1)
    assert (await partition.take()).id == "b"


async def test_running_requests_can_be_renewed_and_ended(partition: Partition) -> None:
    for id_ in ("finished", "cancelled", "delayed", "released", "queued"):
        await partition.submit(id_, conv="talk" if id_ == "finished" else "")
    gone = {go.id: go for go in [await partition.take() for _ in range(4)]}
    assert set(gone) == {"finished", "cancelled", "delayed", "released"}
    async with no_memory(partition):
        assert await partition.renew(gone["finished"]) == []
        assert await partition.account(gone["finished"], "{}") == ("OK", "")
        assert await partition.finish(gone["finished"], 1, "x", answered='"x"') == ("OK", 2)
        assert await partition.cancel("cancelled") == ("OK", "cancelled")
        assert await partition.cancel("queued") == ("OK", "cancelled")
        assert await partition.retry(gone["delayed"]) == ("OK", "")
        assert await partition.release(gone["released"]) == ("OK", "")
        assert await partition.position("released") == 0
        assert await partition.erase("cancelled") == ("OK", "")
        assert await partition.forget("talk") == ("OK", 1)
    assert (await partition.take()).id == "released"
