"""The outboxes: each end is listed once for each consumer, and nothing is lost up to the limits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import KEEP, Partition
from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tickertape.broker import request_ids
from tickertape.broker.outbox import Ended, Fate, Outbox

BOTH = "webhooks=0 history=1000000"


async def listed(partition: Partition, consumer: str) -> list[tuple[str, str, str]]:
    rows = (await partition.snapshot()).list(f"outbox:{consumer}")
    return [(row["id"], row["tenant"], row["state"]) for _, row in rows]


async def end_as(partition: Partition, how: str) -> Go | None:
    """End request "a", which has been submitted for both consumers."""
    await partition.submit("a", outbox=BOTH, conv="c", policy="fail")
    if how == "queued and cancelled":
        await partition.cancel("a")
        return None
    go = await partition.take()
    await partition.append(go, 1, "x")
    match how:
        case "cancelled":
            await partition.cancel("a")
        case "replaced":
            await partition.submit("b", conv="c", on_busy="replace")
        case "forgotten":
            await partition.forget("c")
        case "poison":
            partition.max_crashes = 1
            await partition.end_lease(go)
            await partition.claim(take=False)
        case "interrupted by a reopen":
            await partition.reopen(go)
        case "interrupted by a claim":
            await partition.release(go)
            await partition.claim()
        case "completed" | "failed":
            await partition.finish(go, 2, state=how)
    return go


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("completed", "completed"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
        ("queued and cancelled", "cancelled"),
        ("replaced", "cancelled"),
        ("forgotten", "cancelled"),
        ("poison", "failed"),
        ("interrupted by a reopen", "failed"),
        ("interrupted by a claim", "failed"),
    ],
)
async def test_every_end_is_listed_once_for_each_consumer(
    partition: Partition, how: str, state: str
) -> None:
    await end_as(partition, how)
    for consumer in ("webhooks", "history"):
        assert await listed(partition, consumer) == [("a", "t", state)]


async def test_a_repeated_end_is_listed_once(partition: Partition) -> None:
    go = await end_as(partition, "completed")
    assert go is not None
    assert await partition.finish(go, 2) == ("DUP", 2)
    await partition.cancel("a")
    assert len(await listed(partition, "webhooks")) == 1


async def test_without_consumers_a_request_leaves_no_key_and_no_field(partition: Partition) -> None:
    await partition.submit("a")
    await partition.finish(await partition.take(), 1, "x")
    names = {*(await partition.snapshot()).keys}
    assert not {name for name in names if name.startswith(("outbox", "record", "erased"))}
    assert await partition.field("a", "outbox") is None


async def test_the_history_keeps_prompt_and_log_beyond_the_retention_until_it_has_them(
    partition: Partition,
) -> None:
    await partition.submit("a", outbox=BOTH, payload='{"messages":["hi"]}')
    await partition.finish(await partition.take(), 1, "x")
    record = (await partition.snapshot()).hash("record:a")
    assert (record["payload"], record["state"]) == ('{"messages":["hi"]}', "completed")
    held_ms = await partition.client.pttl(f"{TAG}log:a")
    assert held_ms > 1000 * KEEP["retention_s"]
    ((entry, _),) = (await partition.snapshot()).list("outbox:history")
    await hand(partition, "history", entry)
    now = await partition.snapshot()
    assert "record:a" not in now.keys
    assert now.hash("outboxed")["bytes:history"] == "0"
    assert await partition.client.pttl(f"{TAG}log:a") <= 1000 * KEEP["retention_s"]


async def test_a_log_whose_request_has_expired_goes_when_the_history_has_it(
    partition: Partition,
) -> None:
    await partition.submit("a", outbox=BOTH)
    await partition.finish(await partition.take(), 1, "x")
    await partition.client.delete(f"{TAG}req:a")
    ((entry, _),) = (await partition.snapshot()).list("outbox:history")
    await hand(partition, "history", entry)
    assert "log:a" not in (await partition.snapshot()).keys


async def hand(partition: Partition, consumer: str, entry: str) -> None:
    keys = [f"{TAG}outbox:{consumer}"]
    await partition.call("handed", keys, entry.encode(), b"", b"", b"", b"", consumer=consumer)


@pytest.mark.parametrize("limit", ["history=600", "history=1000000"])
async def test_beyond_its_bytes_the_history_loses_the_newest_and_counts_them(
    partition: Partition, limit: str
) -> None:
    for id_ in "ab":
        await partition.submit(id_, outbox=f"webhooks=0 {limit}", payload="{" + " " * 40 + "}")
        await partition.finish(await partition.take(), 1, "x")
    is_full = limit == "history=600"
    now = await partition.snapshot()
    assert [row[0] for row in await listed(partition, "history")] == ["a"] + ["b"] * (not is_full)
    assert now.hash("outboxed").get("lost:history") == ("1" if is_full else None)
    assert ("record:b" in now.keys) != is_full
    assert len(await listed(partition, "webhooks")) == 2


async def test_an_erased_request_is_taken_from_the_history_and_its_record_is_gone(
    partition: Partition,
) -> None:
    partition.has_history = 1
    await partition.submit("a", outbox=BOTH)
    await partition.finish(await partition.take(), 1, "x")
    await partition.erase("a")
    now = await partition.snapshot()
    assert "record:a" not in now.keys
    assert [id_ for id_, _ in now.list("erased")] == ["a"]


async def test_a_forgotten_conversation_is_taken_from_the_history(partition: Partition) -> None:
    partition.has_history = 1
    for id_ in "ab":
        await partition.submit(id_, outbox=BOTH, conv="c")
    await partition.finish(await partition.take(), 1, "x")
    await partition.forget("c")
    now = await partition.snapshot()
    assert {id_ for id_, _ in now.list("erased")} == {"a", "b"}
    assert not {name for name in now.keys if name.startswith("record:")}


@pytest.fixture
async def rig(redis_url: str, tmp_path: Path) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, GivenSettings(openai_model="m", webhooks=tmp_path)) as rig:
        yield rig


async def one_ended(rig: Rig, outbox: Outbox) -> Ended:
    await rig.requests.cancel(await rig.submit(), "public")
    collected = await outbox.collect(0, "webhooks")
    assert collected is not None
    return collected.ended[-1]


async def test_one_process_collects_until_its_lease_ends(rig: Rig) -> None:
    first = Outbox(rig.connections, owner="first", lease_s=600)
    second = Outbox(rig.connections, owner="second", lease_s=600)
    ended = await one_ended(rig, first)
    assert await second.collect(0, "webhooks") is None
    again = await first.collect(0, "webhooks")
    assert again is not None
    assert again.ended == [ended]
    # The first one died long ago.
    await rig.connections.ask("HSET", rig.connections.keys.outboxed(0), "owner:webhooks", "1|first")
    taken_over = await second.collect(0, "webhooks")
    assert taken_over is not None
    assert taken_over.ended == [ended]
    assert await first.collect(0, "webhooks") is None


async def test_a_clock_that_was_set_back_stops_no_consumer_for_longer_than_a_lease(
    rig: Rig,
) -> None:
    await one_ended(rig, Outbox(rig.connections, owner="first"))
    far = f"{2**45}|first"
    await rig.connections.ask("HSET", rig.connections.keys.outboxed(0), "owner:webhooks", far)
    assert await Outbox(rig.connections, owner="second").collect(0, "webhooks") is not None


async def test_a_webhook_is_due_again_after_its_pause_and_then_given_up(rig: Rig) -> None:
    outbox = Outbox(rig.connections, owner="d")
    ended = await one_ended(rig, outbox)
    id_ = ended.request_id
    fates = [
        Fate(ended.entry, b"", id_, b"a", 0),
        Fate(ended.entry, b"", id_, b"b", 600_000),
    ]
    for _ in range(2):  # the second call does nothing
        await outbox.hand(0, "webhooks", fates)
    collected = await outbox.collect(0, "webhooks")
    assert collected is not None
    assert (collected.ended, collected.due) == ([], [b"a"])
    for _ in range(2):
        await outbox.hand(0, "webhooks", [Fate("", b"a", id_, b"a")])
    (given_up,) = await outbox.given_up(0)
    assert (given_up.request_id, given_up.webhook) == (id_, b"a")
    backlog = await outbox.backlog(0, "webhooks")
    assert (backlog.waiting, backlog.due_again, backlog.given_up) == (0, 1, 1)


async def one_given_up(rig: Rig, outbox: Outbox) -> str:
    ended = await one_ended(rig, outbox)
    id_ = ended.request_id
    await outbox.hand(0, "webhooks", [Fate(ended.entry, b"", id_, each) for each in (b"a", b"b")])
    return id_


async def test_a_webhook_that_was_given_up_is_sent_again_once_and_its_list_ends_with_it(
    rig: Rig,
) -> None:
    outbox = Outbox(rig.connections, owner="d")
    await one_given_up(rig, outbox)
    first, second = await outbox.given_up(0)
    assert [await outbox.take_off(first, b"again") for _ in range(2)] == [True, False]
    collected = await outbox.collect(0, "webhooks")
    assert collected is not None
    assert collected.due == [b"again"]
    assert await outbox.take_off(second)
    assert await outbox.given_up(0) == []
    assert (await outbox.backlog(0, "webhooks")).kept == 0


async def test_an_erasure_reaches_the_webhooks_that_were_given_up(rig: Rig) -> None:
    outbox = Outbox(rig.connections, owner="d")
    await rig.requests.erase(await one_given_up(rig, outbox), "public")
    assert await outbox.given_up(0) == []


async def test_of_webhooks_that_were_given_up_those_of_the_latest_requests_are_kept(
    rig: Rig,
) -> None:
    keys = rig.connections.keys
    ids = [request_ids.new_request_id(0) for _ in range(10_000)]
    rows = [each for n, id_ in enumerate(ids) for each in (n, id_)]
    await rig.connections.ask("ZADD", keys.given_up(0), *rows)
    await rig.connections.ask("RPUSH", keys.given_up_of(ids[0]), "the oldest")
    outbox = Outbox(rig.connections, owner="d")
    await one_given_up(rig, outbox)
    assert (await outbox.backlog(0, "webhooks")).kept == 10_000
    assert await rig.connections.ask("EXISTS", keys.given_up_of(ids[0])) == 0
    assert {each.webhook for each in await outbox.given_up(0)} == {b"a", b"b"}


async def test_the_settings_name_the_consumers(rig: Rig) -> None:
    ended = await one_ended(rig, Outbox(rig.connections, owner="d"))
    assert (ended.state, ended.end) == ("cancelled", b"X{}")
    assert await Outbox(rig.connections, owner="d").collect(0, "history") is None
