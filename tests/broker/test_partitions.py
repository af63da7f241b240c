"""The partition map: who writes it, who follows it, and what a change does to requests."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rigs
from tests.support.wait import wait_until
from tickertape.broker import keys
from tickertape.broker.connections import Connections
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import (
    IdempotencyConflict,
    ParentMissing,
    RequestMissing,
    Unavailable,
)
from tickertape.broker.leftovers import find_leftovers
from tickertape.broker.partition_map import MAX_OLD_MAPS, PartitionMap
from tickertape.broker.repartition import Repartition, TooManyMaps
from tickertape.broker.request_ids import partition_of
from tickertape.broker.submission import conversation_key

counts = st.integers(1, 64)
maps = st.builds(
    PartitionMap,
    counts,
    st.integers(0, 9),
    st.lists(counts, max_size=4, unique=True).map(tuple),
    counts | st.none(),
)


@given(present=maps)
def test_a_map_that_is_written_is_read_as_it_was(present: PartitionMap) -> None:
    assert PartitionMap.decode(present.encode()) == present


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"4", b'{"epoch":1,"partitions":0,"old":[],"next":null}']
)
def test_foreign_data_is_not_a_map(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"map|malformed|truncated"):
        PartitionMap.decode(text)


@given(present=maps, wanted=counts, name=st.text())
def test_a_change_keeps_every_home_that_a_name_had(
    present: PartitionMap, wanted: int, name: str
) -> None:
    affinity = keys.digest(name)
    changed = present.announced(wanted).changed()
    assert set(present.homes(affinity)) <= set(changed.homes(affinity))
    assert changed.homes(affinity)[0] == int(affinity, 16) % wanted
    assert changed.epoch > present.epoch
    assert changed.served <= present.announced(wanted).served


def test_requests_that_nothing_binds_go_to_all_partitions_of_the_newest_map() -> None:
    assert {PartitionMap(3, 1, (9,), 12).choose() for _ in range(200)} == {0, 1, 2}


def processes(url: str, *partitions: int) -> contextlib.AbstractAsyncContextManager[list[Rig]]:
    """Processes of one system, started one after the other with these numbers."""
    return open_rigs(
        url,
        *(
            GivenSettings(openai_model="m", partitions=count, tenant_limit=1000)
            for count in partitions
        ),
    )


async def change(rig: Rig, partitions: int) -> PartitionMap:
    """Change the number of partitions as the command does, without its pauses."""
    return await Repartition(rig.connections).change(partitions, lambda _: None, announce_s=0)


async def stored(rig: Rig) -> PartitionMap:
    return PartitionMap.decode(await rig.connections.ask("GET", KEYS.partition_map()))


async def test_the_setting_is_the_first_number_and_a_later_one_is_only_warned_about(
    redis_url: str,
) -> None:
    with capture_logs() as logs:
        async with processes(redis_url, 4, 2) as (first, second):
            assert first.connections.partitions.map == PartitionMap(4)
            assert second.connections.partitions.map == PartitionMap(4)
            assert await first.connections.ask("GET", KEYS.partition_count()) == b"4"
    (warning,) = [entry for entry in logs if entry["log_level"] == "warning"]
    assert (warning["setting"], warning["in_use"]) == (2, 4)


async def test_processes_that_start_together_agree(redis_url: str) -> None:
    async with processes(redis_url) as _:
        rigs = [Rig(redis_url, GivenSettings(partitions=count)) for count in (1, 2, 1, 2)]
        await asyncio.gather(
            *(rig.connections.agree_on_partitions(rig.settings.partitions) for rig in rigs)
        )
        assert len({rig.connections.partitions.map for rig in rigs}) == 1
        for rig in rigs:
            await rig.aclose()


async def test_a_system_of_version_0_1_has_a_map_of_its_number(redis_url: str) -> None:
    connections = Connections(redis_url)
    await connections.ask("SET", KEYS.partition_count(), 8)
    await connections.aclose()
    async with processes(redis_url, 1) as (rig,):
        assert await stored(rig) == PartitionMap(8)


async def test_version_0_1_finds_no_number_to_start_with_while_two_maps_are_in_use(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1) as (rig,):
        await change(rig, 4)
        assert await rig.connections.ask("GET", KEYS.partition_count()) == b"0"
        await Repartition(rig.connections).drop({1})
        assert await rig.connections.ask("GET", KEYS.partition_count()) == b"4"


@pytest.mark.parametrize("counts", [(1, 8), (8, 1), (3, 5)])
async def test_a_repeated_submit_is_the_same_request_on_both_sides_of_a_change(
    redis_url: str, counts: tuple[int, int]
) -> None:
    before, after = counts
    async with processes(redis_url, before, before) as (old, new):
        named = [{"idempotency_key": f"k{n}", "fingerprint": "f"} for n in range(12)]
        first = [await old.submit(**fields) for fields in named]
        await change(new, after)
        # One process has not read the new map yet.
        assert old.connections.partitions.map.partitions == before
        assert [await new.submit(**fields) for fields in named] == first
        assert [await old.submit(**fields) for fields in named] == first
        with pytest.raises(IdempotencyConflict):
            await new.submit(idempotency_key="k1", fingerprint="other")


async def test_a_process_with_an_old_map_creates_nothing_that_the_new_map_would_not_find(
    redis_url: str,
) -> None:
    async with processes(redis_url, 8, 8) as (old, new):
        await change(new, 1)
        ids = [await old.submit(idempotency_key=f"k{n}", fingerprint="f") for n in range(12)]
        ids += [await old.submit() for _ in range(12)]
        assert {partition_of(request_id) for request_id in ids} == {0}
        again = [await new.submit(idempotency_key=f"k{n}", fingerprint="f") for n in range(12)]
        assert again == ids[:12]


async def test_a_conversation_stays_where_it_is_and_a_new_one_follows_the_new_map(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1, 1) as (old, new):
        first = await old.submit(conversation_id="c")
        await change(new, 8)
        second = await new.submit(conversation_id="c")
        assert partition_of(second) == partition_of(first) == 0
        assert (await new.record(second)).state == "held"
        fresh = {f"c{n}": await new.submit(conversation_id=f"c{n}") for n in range(16)}
        assert len({partition_of(request_id) for request_id in fresh.values()}) > 1
        for rig in (old, new):
            conversations = Conversations(rig.connections, rig.settings)
            assert (await conversations.outline(TENANT, "c")).active_request_id == first
            await conversations.check_parent(TENANT, "c", second)


async def test_a_conversation_that_was_forgotten_begins_where_the_new_map_says(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1, 1) as (rig, other):
        name = next(
            f"c{n}" for n in range(99) if int(conversation_key(TENANT, f"c{n}"), 16) % 8 == 5
        )
        first = await rig.submit(conversation_id=name)
        await change(rig, 8)
        await other.connections.partitions.refresh()
        conversations = Conversations(other.connections, other.settings)
        assert await conversations.place(TENANT, name) == (0, conversation_key(TENANT, name))
        await conversations.forget(TENANT, name)
        both = await asyncio.gather(
            *(each.submit(conversation_id=name) for each in (rig, other, rig, other))
        )
        assert {partition_of(request_id) for request_id in both} == {5}
        with pytest.raises(ParentMissing):
            await conversations.check_parent(TENANT, name, first)


async def test_a_conversation_that_is_gone_when_the_submit_arrives_is_looked_for_again(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with processes(redis_url, 1) as (rig,):
        await rig.submit(conversation_id="c")
        await change(rig, 8)
        ask_all = rig.connections.ask_all
        conversations = Conversations(rig.connections, rig.settings)

        async def then_forget(commands: Any) -> list[Any]:
            replies = await ask_all(commands)
            monkeypatch.setattr(rig.connections, "ask_all", ask_all)
            await conversations.forget(TENANT, "c")
            return replies

        monkeypatch.setattr(rig.connections, "ask_all", then_forget)
        request_id = await rig.submit(conversation_id="c")
        assert partition_of(request_id) == int(conversation_key(TENANT, "c"), 16) % 8


async def test_an_idempotency_key_outlives_its_conversation_and_is_still_found(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1) as (rig,):
        fields = {"conversation_id": "c", "idempotency_key": "k", "fingerprint": "f"}
        first = await rig.submit(**fields)
        await change(rig, 8)
        key = KEYS.conversation(0, conversation_key(TENANT, "c"))
        await rig.connections.ask("DEL", key, f"{key}:turns")
        assert await rig.submit(**fields) == first


async def test_a_request_beyond_the_known_partitions_is_looked_for_in_the_newest_map(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1, 1) as (old, new):
        await change(new, 8)
        request_id = "r0_"
        while partition_of(request_id := await new.submit()) == 0:
            pass
        assert (await old.record(request_id)).state == "queued"
        assert (await old.requests.cancel(request_id, TENANT)).status == "cancelled"
        with pytest.raises(RequestMissing):
            await old.requests.get(request_id.replace(request_id.partition("_")[0], "r900"), TENANT)


async def test_every_partition_of_both_maps_is_listed(redis_url: str) -> None:
    async with processes(redis_url, 8, 8) as (old, new):
        before = [await old.submit() for _ in range(8)]
        await change(new, 2)
        after = [await new.submit() for _ in range(8)]
        listed = [row.request_id async for row in new.requests.newest(TENANT)]
        assert sorted(listed) == sorted(before + after)


async def test_a_change_that_was_cut_off_before_it_was_published_is_finished_by_a_submit(
    redis_url: str,
) -> None:
    async with processes(redis_url, 1, 1) as (rig, other):
        announced = PartitionMap(1).announced(8)
        await rig.connections.ask("SET", KEYS.partition_map(), announced.encode())
        await rig.connections.ask("SET", KEYS.epoch(0), 1)
        await rig.submit()
        assert rig.connections.partitions.map == PartitionMap(8, 1, (1,))
        assert (await other.connections.partitions.refresh()) == PartitionMap(8, 1, (1,))


async def test_fences_of_a_map_that_is_lost_refuse_no_submit_for_good(redis_url: str) -> None:
    async with processes(redis_url, 2) as (rig,):
        await rig.connections.ask("SET", KEYS.epoch(1), 3)
        for _ in range(12):
            await rig.submit()
        assert rig.connections.partitions.map == PartitionMap(2, 3)


async def test_a_change_that_was_cut_off_is_finished_by_the_next_change(redis_url: str) -> None:
    async with processes(redis_url, 1) as (rig,):
        await rig.connections.ask("SET", KEYS.partition_map(), PartitionMap(1, next=8).encode())
        assert await change(rig, 3) == PartitionMap(3, 2, (8, 1))


async def test_changes_at_the_same_time_end_with_one_map(redis_url: str) -> None:
    async with processes(redis_url, 1, 1) as rigs:
        await asyncio.gather(change(rigs[0], 4), change(rigs[1], 6))
        first, second = [await rig.connections.partitions.refresh() for rig in rigs]
        assert first == second
        assert first.next is None
        assert {first.partitions, *first.old} >= {1, 4} or {first.partitions, *first.old} >= {1, 6}


async def test_submits_under_changes_are_accepted_once_each(redis_url: str) -> None:
    """Three processes with maps of different ages, and one that changes the map all the time."""
    async with processes(redis_url, 2, 2, 2, 2) as (changer, *rigs):
        accepted: dict[str, set[str]] = {}
        is_over = asyncio.Event()
        submitted = 0

        async def submit_all(rig: Rig) -> None:
            nonlocal submitted
            number = 0
            while not is_over.is_set() or number < 50:
                number += 1
                name = f"k{number % 150}"
                request_id = await rig.submit(idempotency_key=name, fingerprint="f")
                accepted.setdefault(name, set()).add(request_id)
                name = f"c{number % 40}"
                request_id = await rig.submit(conversation_id=name)
                place = str(partition_of(request_id))
                accepted.setdefault(name, set()).add(place)
                await rig.requests.cancel(request_id, TENANT)
                submitted += 1

        async def more_submits() -> None:
            due = submitted + 30
            await wait_until(lambda: submitted >= due, description="submits by the present map")

        tasks = [asyncio.create_task(submit_all(rig)) for rig in rigs]
        for count in (7, 1, 5, 2, 7):
            await change(changer, count)
            await more_submits()
        is_over.set()
        await asyncio.gather(*tasks)
        assert {name: found for name, found in accepted.items() if len(found) != 1} == {}


async def test_a_map_that_redis_lost_is_written_again(redis_url: str) -> None:
    async with processes(redis_url, 1, 1) as (rig, other):
        await change(rig, 4)
        await rig.connections.ask("DEL", KEYS.partition_map())
        await rig.connections.partitions.refresh()
        assert await stored(rig) == PartitionMap(4, 1, (1,))
        await rig.connections.ask("SET", KEYS.partition_map(), PartitionMap(1).encode())
        await rig.connections.partitions.refresh()
        assert await other.connections.partitions.refresh() == PartitionMap(4, 1, (1,))


async def test_a_map_is_kept_until_nothing_needs_it(redis_url: str) -> None:
    async with processes(redis_url, 4) as (rig,):
        for number in range(8):
            await rig.submit(conversation_id=f"c{number}")
            await rig.submit(idempotency_key=f"k{number}", fingerprint="f")
            await rig.submit(conversation_id="c", idempotency_key=f"k{number}", fingerprint="f")
        present = await change(rig, 1)
        left = (await find_leftovers(rig.connections, present))[4]
        assert left.conversations > 2
        assert left.idempotency_keys > 2
        assert left.requests > 4
        assert "conversations" in left.describe()
        async for row in rig.requests.newest(TENANT):
            await rig.requests.cancel(row.request_id, TENANT)
        gone = [KEYS.tag(n) for n in (1, 2, 3)]
        for tag in gone:
            for name in await rig.connections.ask("KEYS", f"{tag}*"):
                if b"}:load" not in name:
                    await rig.connections.ask("DEL", name)
        assert (await find_leftovers(rig.connections, present))[4].is_empty
        assert await Repartition(rig.connections).drop({4}) == PartitionMap(1, 2)


async def test_growth_keeps_the_earlier_map_for_conversations_alone(redis_url: str) -> None:
    async with processes(redis_url, 1) as (rig,):
        request_id = await rig.submit()
        present = await change(rig, 8)
        assert (await find_leftovers(rig.connections, present))[1].is_empty
        await Repartition(rig.connections).drop({1})
        assert (await rig.record(request_id)).state == "queued"


async def test_too_many_kept_maps_are_refused_before_anything_changes(redis_url: str) -> None:
    async with processes(redis_url, 1) as (rig,):
        for count in range(2, 2 + MAX_OLD_MAPS):
            await change(rig, count)
        before = await stored(rig)
        with pytest.raises(TooManyMaps):
            await change(rig, 60)
        assert await stored(rig) == before


async def test_a_change_without_an_answer_of_redis_is_unavailable() -> None:
    connections = Connections("redis://127.0.0.1:1")
    with pytest.raises(Unavailable):
        await Repartition(connections).change(4)
    await connections.aclose()
