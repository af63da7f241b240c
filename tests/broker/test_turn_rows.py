"""The rows of large conversations are read in small replies, and no more of them than needed."""

import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import ParentMissing, RequestMissing
from tickertape.broker.turn_rows import PAGE_BYTES, TurnRows


async def fill(broker: Rig, sizes: list[int]) -> None:
    """Turns with questions of these sizes, each with a short answer."""
    for size in sizes:
        await broker.begin(conversation_id="c", question=[{"content": "x" * size}])
        await broker.finish(answered="yes")


async def test_rows_of_megabytes_behind_many_small_ones_are_read_in_small_replies(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as broker:
        await fill(broker, [10] * 20 + [1_000_000] * 12)
        conversations = Conversations(broker.connections, broker.settings)
        place = await conversations.place(TENANT, "c")
        pages = [page async for page in TurnRows(broker.connections).pages(*place)]
        sizes = [sum(len(value) for _, row in page for value in row.values()) for page in pages]
        assert max(sizes) < PAGE_BYTES + 1_100_000
        assert sum(map(len, pages)) == 64
        outlines = await conversations.outlines(*place)
        assert [turn.size_bytes > 1_000_000 for turn in outlines] == [False] * 20 + [True] * 12
        assert not any(turn.asked for turn in outlines)


async def test_a_small_call_reads_no_large_conversation_whole(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        await fill(broker, [1_000_000] * 12)
        conversations = Conversations(broker.connections, broker.settings)
        unknown = "r0_" + "a" * 26
        tracemalloc.start()
        try:
            with pytest.raises(ParentMissing):
                await conversations.check_parent(TENANT, "c", unknown)
            with pytest.raises(RequestMissing):
                await conversations.erase_turn(TENANT, "c", unknown)
            assert await conversations.forget(TENANT, "c") == 12
            assert tracemalloc.get_traced_memory()[1] < 3 * PAGE_BYTES
        finally:
            tracemalloc.stop()
        place = await conversations.place(TENANT, "c")
        assert not await broker.connections.ask("EXISTS", KEYS.turns(*place))


async def test_a_turn_that_comes_while_its_conversation_is_erased_is_erased_too(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_rig(redis_url) as broker:
        await fill(broker, [10] * 3)
        conversations = Conversations(broker.connections, broker.settings)
        read, late = TurnRows.pages, list[str]()

        async def read_before(self: TurnRows, *args: Any, **options: Any) -> AsyncIterator[Any]:
            async for page in read(self, *args, **options):
                yield page
            late.append(await broker.submit(conversation_id="c", question=[{"content": "late"}]))

        monkeypatch.setattr(TurnRows, "pages", read_before)
        assert await conversations.forget(TENANT, "c") == 4
        with pytest.raises(RequestMissing):
            await broker.requests.get(late[0], TENANT)
