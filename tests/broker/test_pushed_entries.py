"""Every entry is pushed as it is written: a reader of all pushes has the whole log."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio.client import PubSub

from tests.broker.checked_partition import TAG
from tests.broker.invariants import log_of
from tests.broker.partition import Partition
from tickertape.broker.codec import Cursor, Entry, Notice, Pushed, decode, unpack


@asynccontextmanager
async def listening(partition: Partition, id_: str) -> AsyncIterator[PubSub]:
    pushes = partition.client.pubsub()
    await pushes.ssubscribe(f"{TAG}push:{id_}")
    await pushes.get_message(timeout=5)
    yield pushes
    await pushes.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py


async def heard(partition: Partition, pushes: PubSub, id_: str) -> list[Notice]:
    """Check that what was pushed is the log, entry by entry; return what was pushed besides."""
    log = log_of(await partition.snapshot(), id_)
    entries: list[Entry] = []
    news: list[Notice] = []
    while len(entries) < len(log):
        message = await pushes.get_message(timeout=5)
        assert message is not None, f"only {len(entries)} of {len(log)} entries were pushed"
        match unpack(message["data"]):
            case Pushed(first, values):
                entries += [
                    decode(Cursor(first.attempt, first.seq + at), value)
                    for at, value in enumerate(values)
                ]
            case Notice() as other:
                news.append(other)
    assert entries == log
    return news


async def test_a_whole_life_is_pushed(partition: Partition) -> None:
    async with listening(partition, "a") as pushes:
        await partition.submit("a")
        go = await partition.take()
        await partition.append(go, 1, "x", "", "y\n3:é\x00")
        await partition.append(go, 2, "", "y\n3:é\x00", "z")
        await partition.end_lease(go)
        go = await partition.take()
        await partition.append(go, 1, "x")
        attempt = int((await partition.reopen(go))[1])
        await partition.retry(go._replace(attempt=attempt))
        await partition.make_due("a")
        go = await partition.take()
        await partition.finish(go, 1, "x", "y")
        news = await heard(partition, pushes, "a")
    assert [(one.kind, one.data["reason"]) for one in news] == [("waiting", "later")]


@pytest.mark.parametrize("end", ["cancel", "replace", "poison", "interrupted", "reopen"])
async def test_every_terminal_is_pushed(partition: Partition, end: str) -> None:
    partition.max_crashes = 1 if end == "poison" else 3
    async with listening(partition, "a") as pushes:
        await partition.submit("a", conv="talk", policy="fail")
        go = await partition.take()
        await partition.append(go, 1, "x")
        match end:
            case "cancel":
                await partition.cancel("a")
            case "replace":
                await partition.submit("b", conv="talk", on_busy="replace")
            case "poison" | "interrupted":
                await partition.end_lease(go)
                await partition.claim()
            case "reopen":
                await partition.reopen(go)
        assert (await partition.log("a"))[-1] in {"failed", "cancelled"}
        assert await heard(partition, pushes, "a") == []


async def test_what_is_refused_is_not_pushed(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    await partition.append(go, 1, "x")
    async with listening(partition, "a") as pushes:
        await partition.append(go, 1, "x")
        await partition.append(go, 9, "z")
        await partition.append(go, 2, "z", max_seq=1)
        await partition.append(go._replace(attempt=go.attempt - 1), 2, "z")
        await partition.finish(go, 9)
        await partition.submit("a")
        await partition.append(go, 2, "y")
        message = await pushes.get_message(timeout=5)
    assert message is not None
    assert unpack(message["data"]) == Pushed(Cursor(go.attempt, 2), [b"dy"])
