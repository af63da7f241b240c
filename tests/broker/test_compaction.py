"""Compaction: readers see no difference, and no log is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig
from tickertape.broker import compaction as module
from tickertape.broker.codec import Cursor, encode_text
from tickertape.broker.compaction import Compaction
from tickertape.broker.errors import EntryMalformed

TEXTS = [f"{n} é" for n in range(40)]


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running:
        yield running


@pytest.fixture
def compaction(rig: Rig) -> Compaction:
    return Compaction(rig.connections)


async def ended(rig: Rig, texts: list[str] = TEXTS) -> str:
    request_id = await rig.begin()
    await rig.type(*texts)
    await rig.finish()
    return request_id


async def segments(rig: Rig, request_id: str) -> int:
    return int(await rig.connections.ask("XLEN", KEYS.log(request_id)))


async def due(compaction: Compaction, after_s: float = 0) -> list[str]:
    return await compaction.due(0, after_s=after_s, limit=10)


async def test_a_compacted_log_has_the_same_entries(rig: Rig, compaction: Compaction) -> None:
    request_id = await ended(rig)
    before = await rig.logs.read(request_id)
    assert await compaction.compact(0, request_id) == "OK"
    assert await segments(rig, request_id) == 3
    assert await rig.logs.read(request_id) == before
    assert await rig.texts(request_id) == TEXTS
    assert await rig.logs.tails([request_id]) == [before[-1][0]]


async def test_a_read_from_any_entry_on_has_exactly_the_rest(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await ended(rig)
    log = await rig.logs.read(request_id)
    await compaction.compact(0, request_id)
    for number, (cursor, _) in enumerate(log):
        assert await rig.logs.read(request_id, cursor) == log[number:]
        assert await rig.logs.read(request_id, cursor, 3) == log[number : number + 3]
    assert await rig.logs.read(request_id, log[-1][0].next()) == []


async def test_a_compacted_log_expires_when_the_log_would_have(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await ended(rig)
    key = KEYS.log(request_id)
    await rig.connections.ask("PEXPIRE", key, 123_000)
    await compaction.compact(0, request_id)
    assert 100_000 < await rig.connections.ask("PTTL", key) <= 123_000


async def test_requests_are_due_once_they_ended_long_enough_ago(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await ended(rig)
    assert await due(compaction, after_s=60) == []
    assert await due(compaction) == [request_id]


async def test_a_log_is_due_for_one_caller_and_due_again_if_that_caller_dies(
    rig: Rig, compaction: Compaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await ended(rig)
    assert await due(compaction) == [request_id]
    assert await due(compaction) == []
    await rig.connections.ask("ZADD", KEYS.uncompacted(0), 1, request_id)
    monkeypatch.setattr(module, "HOLD_S", 0)
    assert await due(compaction) == [request_id]
    assert await due(compaction) == [request_id]
    await compaction.compact(0, request_id)
    assert await due(compaction) == []


async def test_a_short_log_stays_as_it_is(rig: Rig, compaction: Compaction) -> None:
    await ended(rig, ["a", "b"])
    assert await due(compaction) == []


async def test_an_erased_request_is_no_longer_due(rig: Rig, compaction: Compaction) -> None:
    request_id = await ended(rig)
    await rig.requests.erase(request_id, TENANT)
    assert await due(compaction) == []
    assert await compaction.compact(0, request_id) == "MISSING"
    assert await segments(rig, request_id) == 0


async def test_a_log_that_is_erased_while_it_is_compacted_stays_erased(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await ended(rig)

    async def read_then_erase(*args: object, **named: object) -> object:
        page = await rig.logs.read_page(*args, **named)  # type: ignore[arg-type]  # as it was called
        await rig.requests.erase(request_id, TENANT)
        return page

    compaction._logs = rig.logs.__class__(rig.connections)
    compaction._logs.read_page = read_then_erase  # type: ignore[method-assign, assignment]
    assert await compaction.compact(0, request_id) == "MISSING"
    assert await segments(rig, request_id) == 0


async def test_a_log_with_a_foreign_entry_stays_as_it_is(rig: Rig, compaction: Compaction) -> None:
    request_id = await ended(rig)
    last = (await rig.logs.read(request_id))[-1][0]
    foreign = str(Cursor(last.attempt + 1, 0))
    await rig.connections.ask("XADD", KEYS.log(request_id), foreign, "z", "dx")
    assert await compaction.compact(0, request_id) == "FENCED"
    assert await segments(rig, request_id) == len(TEXTS) + 4
    with pytest.raises(EntryMalformed):
        await rig.logs.entries(request_id)


async def test_a_log_that_is_too_large_stays_as_it_is(
    rig: Rig, compaction: Compaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await ended(rig)
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    assert await due(compaction) == [request_id]
    assert await compaction.compact(0, request_id) == "DUP"
    assert await segments(rig, request_id) == len(TEXTS) + 3
    assert await rig.texts(request_id) == TEXTS


async def test_a_log_of_several_kinds_and_attempts_keeps_every_entry(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await rig.begin()
    await rig.append(*(encode_text("reasoning", text) for text in TEXTS))
    await rig.append(*(encode_text("delta", text, {"a": 1}) for text in TEXTS))
    await rig.reopen()
    await rig.type(*TEXTS)
    await rig.finish()
    before = await rig.logs.read(request_id)
    assert await compaction.compact(0, request_id) == "OK"
    assert await segments(rig, request_id) == 6
    assert await rig.logs.read(request_id) == before


async def test_two_workers_that_compact_one_log_leave_one_compacted_log(
    rig: Rig, compaction: Compaction
) -> None:
    request_id = await ended(rig)
    words = await asyncio.gather(*(compaction.compact(0, request_id) for _ in range(2)))
    assert sorted(words) == ["DUP", "OK"]
    assert await rig.texts(request_id) == TEXTS
