"""Reading logs: from an entry on, page by page, and where they end."""

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tickertape.broker import request_ids
from tickertape.broker.codec import START, Cursor, decode, encode_data, encode_text
from tickertape.broker.errors import EntryMalformed
from tickertape.broker.log import PAGE_ENTRIES

# An entry without our field, and ids that no attempt and no seq ever reach.
LARGEST = 2**64 - 1
FOREIGN = [("6-0", "z"), (f"{10**16}-0", "e"), (f"6-{10**10}", "e"), (f"{LARGEST}-{LARGEST}", "e")]


async def write(broker: Rig, request_id: str, attempt: int, count: int) -> None:
    """`count` deltas, each its own number, behind one opener."""
    values = [encode_data("started", {}), *(encode_text("delta", str(n)) for n in range(count))]
    await broker.connections.ask_all(
        [
            ("XADD", KEYS.log(request_id), f"{attempt}-{seq}", "e", value)
            for seq, value in enumerate(values)
        ]
    )


async def test_a_page_begins_with_the_very_entry_that_was_asked_for(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = request_ids.new_request_id(0)
        await write(broker, request_id, 5, 3)
        whole = await broker.logs.read(request_id)
        assert [cursor for cursor, _ in whole] == [Cursor(5, seq) for seq in range(4)]
        assert whole[1] == (Cursor(5, 1), b"d0")
        assert await broker.logs.read(request_id, Cursor(5, 2)) == whole[2:]
        assert await broker.logs.read(request_id, Cursor(5, 1), 2) == whole[1:3]
        assert await broker.logs.read(request_id, Cursor(5, 4)) == []
        assert await broker.logs.read(request_id, Cursor(4, 9)) == whole


async def test_a_log_that_is_not_there_is_empty(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = request_ids.new_request_id(0)
        assert await broker.logs.read(request_id, START) == []
        assert await broker.logs.entries(request_id) == []


@pytest.mark.parametrize("count", [PAGE_ENTRIES - 1, PAGE_ENTRIES, 2 * PAGE_ENTRIES + 7])
async def test_a_log_longer_than_a_page_is_read_whole(redis_url: str, count: int) -> None:
    async with open_rig(redis_url) as broker:
        request_id = request_ids.new_request_id(0)
        await write(broker, request_id, 5, count)
        assert await broker.texts(request_id) == [str(number) for number in range(count)]


async def test_tails_are_found_for_any_number_of_logs(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        ids = [request_ids.new_request_id(0) for _ in range(450)]
        for number in (0, 199, 200, 449):
            await write(broker, ids[number], 5, number % 7)
        tails = await broker.logs.tails(ids)
        assert {n: tail for n, tail in enumerate(tails) if tail} == {
            number: Cursor(5, number % 7) for number in (0, 199, 200, 449)
        }
        assert await broker.logs.tails([]) == []


async def test_an_entry_of_a_later_version_keeps_its_place_among_the_others(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as broker:
        request_id = request_ids.new_request_id(0)
        await broker.connections.ask("XADD", KEYS.log(request_id), "5-0", "e", "?new")
        await broker.connections.ask("XADD", KEYS.log(request_id), "5-1", "e", "da")
        entries = await broker.logs.entries(request_id)
    assert [(str(entry.cursor), entry.kind) for entry in entries] == [
        ("5-0", "unknown"), ("5-1", "delta"),
    ]  # fmt: skip


@pytest.mark.parametrize(("entry_id", "field"), FOREIGN)
async def test_a_foreign_entry_is_malformed_only_where_it_is_decoded(
    redis_url: str, entry_id: str, field: str
) -> None:
    async with open_rig(redis_url) as broker:
        request_id = request_ids.new_request_id(0)
        await write(broker, request_id, 5, 1)
        sound = await broker.logs.read(request_id)
        await broker.connections.ask("XADD", KEYS.log(request_id), entry_id, field, "dx")
        page = await broker.logs.read(request_id)
        assert page[:2] == sound
        with pytest.raises(EntryMalformed):
            decode(*page[2])
        with pytest.raises(EntryMalformed):
            await broker.logs.entries(request_id)


@pytest.mark.parametrize(("entry_id", "field"), FOREIGN)
async def test_a_foreign_entry_is_a_tail_like_any_other(
    redis_url: str, entry_id: str, field: str
) -> None:
    async with open_rig(redis_url) as broker:
        foreign, sound = request_ids.new_request_id(0), request_ids.new_request_id(0)
        await write(broker, sound, 5, 1)
        await broker.connections.ask("XADD", KEYS.log(foreign), entry_id, field, "dx")
        attempt, _, seq = entry_id.partition("-")
        tails = await broker.logs.tails([foreign, sound])
        assert tails == [Cursor(int(attempt), int(seq)), Cursor(5, 1)]
