"""Positions of any number of watched requests, at a cost that does not grow with them."""

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.queue_positions import MOST_NOTICES, PartTurns, QueuePositions
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker import request_ids
from tickertape.broker.codec import Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.queue_lines import PART_SIZE, Lines, QueueLines


def watched_request(request_id: str, tenant: str = "t") -> WatchedLog:
    """A log whose only entry is `queued`, with a reader of its notices."""
    watched = WatchedLog(request_id, b"channel")
    watched.tape.offer(Cursor(1, 0), b"Q{}")
    watched.tenant = tenant
    watched.listen(lambda: None, lambda *_: None)
    return watched


async def fill(connections: Connections, waiting: dict[str, list[str]], partition: int = 0) -> None:
    """Put ids into the tenants' lists, as scripts do."""
    for tenant, ids in waiting.items():
        for start in range(0, len(ids), 1000):
            key = KEYS.waiting(partition, tenant)
            await connections.ask("RPUSH", key, *ids[start : start + 1000])
        await connections.ask("RPUSH", KEYS.ring(partition), tenant)


def new_ids(count: int, partition: int = 0) -> list[str]:
    return [request_ids.new_request_id(partition) for _ in range(count)]


def positions_of(
    connections: Connections, watched: list[WatchedLog], **options: Any
) -> QueuePositions:
    hub = cast("Hub", SimpleNamespace(queued=lambda: watched))
    return QueuePositions(hub, QueueLines(connections, **options), 1.0, lambda _: None)


def shown(watched: WatchedLog) -> object:
    return watched.notices.get("position", {}).get("position")


async def commands(rig: Rig) -> int:
    stats = await rig.connections.ask("INFO", "stats")
    return int(stats["total_commands_processed"])


@pytest.mark.parametrize("seed", range(3))
async def test_all_positions_are_those_that_a_single_request_is_shown(
    redis_url: str, seed: int
) -> None:
    chance = random.Random(seed)
    waiting = {tenant: new_ids(chance.randrange(1, 9)) for tenant in "abcdef"}
    async with open_rig(redis_url) as rig:
        await fill(rig.connections, waiting)
        lines = await QueueLines(rig.connections).read(0, [(tenant, 0) for tenant in waiting])
        assert lines.positions() == {
            id_: await rig.requests.position(id_, tenant)
            for tenant, ids in waiting.items()
            for id_ in ids
        }


async def test_five_thousand_readers_get_their_positions_at_the_cost_of_one(
    redis_url: str,
) -> None:
    ids = new_ids(5000)
    async with open_rig(redis_url) as rig:
        await fill(rig.connections, {"t": ids})
        watched = [watched_request(id_) for id_ in ids]
        positions = positions_of(rig.connections, watched)
        for _ in range(10):
            before = await commands(rig)
            await positions.publish()
            assert await commands(rig) - before < 15, "whatever the number of readers"
        assert [shown(each) for each in watched] == list(range(5000))


async def test_readers_in_all_partitions_and_of_many_tenants_get_their_positions(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as rig:
        watched = []
        for partition in range(3):
            waiting = {f"t{n}": new_ids(2, partition) for n in range(150)}
            await fill(rig.connections, waiting, partition)
            watched += [watched_request(id_, t) for t, ids in waiting.items() for id_ in ids]
        positions = positions_of(rig.connections, watched, most_ids=100)
        for _ in range(5):
            await positions.publish()
        assert sorted(str(shown(each)) for each in watched) == sorted(
            str(n) for n in range(300) for _ in range(3)
        )


async def test_a_notice_has_a_limit_in_each_interval_and_the_nearest_readers_go_first(
    redis_url: str,
) -> None:
    ids = new_ids(3000)
    async with open_rig(redis_url) as rig:
        await fill(rig.connections, {"t": ids})
        watched = [watched_request(id_) for id_ in ids]
        positions = positions_of(rig.connections, watched)
        await positions.publish()
        assert sum(shown(each) is not None for each in watched) == MOST_NOTICES
        assert [shown(each) for each in watched[:500]] == list(range(500))


async def test_a_place_that_has_not_changed_is_not_published_again(redis_url: str) -> None:
    [id_] = new_ids(1)
    async with open_rig(redis_url) as rig:
        await fill(rig.connections, {"t": [id_]})
        watched = watched_request(id_)
        published: list[object] = []
        watched.listen(lambda: None, lambda _, data: published.append(data))
        positions = positions_of(rig.connections, [watched])
        await positions.publish()
        await positions.publish()
        assert published == [{"position": 0}]


def test_far_parts_of_a_line_take_turns_and_disappear_with_the_line() -> None:
    turns = PartTurns()
    full = ["id"] * PART_SIZE
    assert list(turns.choose(["t"])) == [("t", 0)]
    turns.read(Lines({}, {("t", 0): full}))
    assert list(turns.choose(["t"])) == [("t", 0), ("t", 1000)]
    turns.read(Lines({}, {("t", 0): full, ("t", 1000): full}))
    assert list(turns.choose(["t"])) == [("t", 0), ("t", 1000), ("t", 2000)]
    turns.read(Lines({}, {("t", 0): full, ("t", 1000): full}))
    assert list(turns.choose(["t"])) == [("t", 0), ("t", 2000), ("t", 1000)]
    turns.read(Lines({}, {("t", 2000): []}))
    assert list(turns.choose(["t"])) == [("t", 0), ("t", 1000)]
    assert list(turns.choose(["other"])) == [("other", 0)]
