"""A cluster: the partitions live at several masters, which die, hand over and pass slots on."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.cluster import Cluster, Node
from tests.support.followers import Follower, following
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Script, Text, Wait, answer
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.compaction import Compaction
from tickertape.broker.connections import Connections
from tickertape.broker.counts import Counts
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.keys import Keyspace
from tickertape.broker.leftovers import find_leftovers
from tickertape.broker.partition_tags import slot_of
from tickertape.broker.repartition import Repartition
from tickertape.broker.request_ids import partition_of
from tickertape.broker.rights import Rights
from tickertape.cli.checks.servers import redis
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.slow

KEYS = Keyspace(is_spread=True)
PARTITIONS = 16
WORDS = ["a ", "b ", "c ", "d ", "e "]


@contextlib.asynccontextmanager
async def system(
    cluster: Cluster, upstream: ScriptedUpstream, *, lease_s: float = 5.0
) -> AsyncIterator[RunningApi]:
    given: dict[str, Any] = {
        "openai_base_url": upstream.base_url,
        "lease_s": lease_s,
        "heartbeat_s": 0.3,
        # Each partition has a share of the limit, and the requests are spread by chance.
        "tenant_limit": 1000,
    }
    settings = Settings.model_validate({**given, "redis_url": cluster.url})
    assert settings.partitions == PARTITIONS
    async with running_api(cluster.url, **given) as api, working(cluster.url, settings, slots=40):
        yield api


def slot_of_partition(partition: int) -> int:
    return slot_of(KEYS.tag_text(partition))


def slow_answer(gates: list[asyncio.Event]) -> Script:
    """One word, and each further one after its gate."""
    later = [
        step
        for gate, word in zip(gates, WORDS[1:], strict=False)
        for step in (Wait(gate), Text(word))
    ]
    return [Role(), Text(WORDS[0]), *later, Finish()]


@contextlib.asynccontextmanager
async def many_readers(
    api: RunningApi, upstream: ScriptedUpstream, gates: list[asyncio.Event], count: int = 32
) -> AsyncIterator[list[Follower]]:
    """Requests in most partitions, each with a reader that has the first word."""
    upstream.script = slow_answer(gates)
    async with contextlib.AsyncExitStack() as stack:
        readers = []
        for _ in range(count):
            request_id = await api.submit()
            url = api.stream_url(request_id)
            readers.append(await stack.enter_async_context(following(url, comes_back=True)))
        await all_show(readers, WORDS[0])
        yield readers


async def all_show(readers: list[Follower], text: str, timeout_s: float = 20) -> None:
    await wait_until(
        lambda: all(reader.text == text for reader in readers),
        timeout_s=timeout_s,
        description=f"all readers to see {text!r}",
    )


async def all_end(readers: list[Follower], timeout_s: float = 30) -> None:
    for reader in readers:
        await reader.ends(timeout_s)


def cursors(reader: Follower) -> list[str]:
    return [event.cursor for event in reader.events if event.cursor is not None]


def assert_exact(readers: list[Follower], text: str) -> None:
    """No gap, no repeat, and nothing that started over."""
    for reader in readers:
        assert reader.text == text
        entries = [event.kind for event in reader.events if event.cursor is not None]
        assert [kind for kind in entries if kind != "delta"] == ["queued", "started", "completed"]
        assert len(set(cursors(reader))) == len(cursors(reader))


async def test_requests_of_all_partitions_run_over_one_connection_to_each_node(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    async with system(cluster, upstream) as api:
        ids = [await api.submit(conversation_id=f"c{number}") for number in range(80)]
        assert {partition_of(request_id) for request_id in ids} == set(range(PARTITIONS))
        for request_id in ids:
            assert text_of(await collect(api.stream_url(request_id))) == "Hello, world."
        listed = (await api.client.get("/conversations", params={"limit": 100})).json()
        assert len(listed["conversations"]) == 80
        assert (await api.client.get("/status.json")).json()["verdict"] == "ok"
        for master in cluster.masters():
            # One of the API process, and one of the worker.
            assert len(master.client.client_list(_type="pubsub")) <= 2


async def test_a_request_can_be_cancelled_in_every_partition(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    async with (
        system(cluster, upstream) as api,
        many_readers(api, upstream, [asyncio.Event()]) as readers,
    ):
        listed = (await api.client.get("/chat", params={"limit": 100})).json()
        for request in listed["requests"]:
            answered = await api.client.post(f"/chat/{request['request_id']}/cancel")
            assert answered.status_code == 200
        await all_end(readers)
        assert {reader.kinds[-1] for reader in readers} == {"cancelled"}


async def assert_exact_while_slots_move(
    cluster: Cluster, upstream: ScriptedUpstream, move: Callable[[int], object]
) -> None:
    """Move every third slot before each word; all readers get the exact text."""
    gates = [asyncio.Event() for _ in WORDS[1:]]
    async with (
        system(cluster, upstream) as api,
        many_readers(api, upstream, gates) as readers,
    ):
        for number, gate in enumerate(gates, 1):
            for partition in range(number % 3, PARTITIONS, 3):
                await asyncio.to_thread(move, slot_of_partition(partition))
            gate.set()
            await all_show(readers, "".join(WORDS[: number + 1]))
        await all_end(readers)
        assert_exact(readers, "".join(WORDS))


async def test_slots_that_move_in_one_step_leave_no_gap_and_no_repeat(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    await assert_exact_while_slots_move(cluster, upstream, cluster.move_slot)


async def test_slots_that_move_key_by_key_leave_no_gap_and_no_repeat(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    await assert_exact_while_slots_move(cluster, upstream, functools.partial(move_slowly, cluster))


def move_slowly(cluster: Cluster, slot: int) -> None:
    source, target = cluster.begin_move(slot)
    cluster.move_keys(slot, source, target)
    cluster.end_move(slot, source, target)


async def test_entries_written_while_half_of_a_slot_has_moved_arrive_afterwards(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    """Redis answers the writers with ASK or TRYAGAIN until the slot is whole again."""
    gates = [asyncio.Event()]
    upstream.script = slow_answer(gates)
    async with system(cluster, upstream) as api:
        request_id = await api.submit()
        async with following(api.stream_url(request_id)) as reader:
            await reader.shows(WORDS[0])
            slot = slot_of_partition(partition_of(request_id))
            source, target = await asyncio.to_thread(cluster.begin_move, slot)
            await asyncio.to_thread(move_keys_of, request_id, source, target)
            gates[0].set()
            submits = await asyncio.gather(*(submit_into(api, request_id) for _ in range(5)))
            assert set(submits) == {503}, "a submit must not see half of a partition"
            await asyncio.to_thread(cluster.move_keys, slot, source, target)
            await asyncio.to_thread(cluster.end_move, slot, source, target)
            await reader.ends()
            assert_exact([reader], "a b ")
            assert await submit_into(api, request_id) == 202


def move_keys_of(request_id: str, source: Node, target: Node) -> None:
    """Move the log of a request, and leave its hash behind."""
    source.call(
        *("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "AUTH", "sesame", "KEYS"),
        KEYS.log(request_id),
    )


async def submit_into(api: RunningApi, request_id: str) -> int:
    """Submit into the partition of a request; the status."""
    number = 0
    conversations = api.services.conversations
    while (await conversations.place("public", f"x{number}"))[0] != partition_of(request_id):
        number += 1
    body = {"message": "hi", "conversation_id": f"x{number}"}
    return (await api.client.post("/chat", json=body)).status_code


async def test_a_planned_fail_over_leaves_no_gap_and_no_repeat(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event() for _ in WORDS[1:]]
    async with (
        system(cluster, upstream) as api,
        many_readers(api, upstream, gates) as readers,
    ):
        for number, gate in enumerate(gates[:3], 1):
            await asyncio.to_thread(cluster.promote_replica_of, 5461 * (number - 1))
            gate.set()
            await all_show(readers, "".join(WORDS[: number + 1]))
        gates[3].set()
        await all_end(readers)
        assert_exact(readers, "".join(WORDS))


async def test_after_the_death_of_a_master_every_reader_gets_the_whole_text(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event() for _ in WORDS[1:]]
    async with (
        system(cluster, upstream, lease_s=1.0) as api,
        many_readers(api, upstream, gates) as readers,
    ):
        dead = await asyncio.to_thread(cluster.kill_master_of, 0)
        for gate in gates:
            gate.set()
        await all_end(readers)
        for reader in readers:
            assert reader.text == "".join(WORDS)
            assert reader.kinds[-1] == "completed"
        await wait_until(
            lambda: cluster.owner_of(0) is not dead, description="the promotion of the replica"
        )
        await wait_until(api.is_ready, description="the API is ready again")
        request_id = await api.submit()
        assert text_of(await collect(api.stream_url(request_id))) == "".join(WORDS)


async def test_a_node_of_a_cluster_is_refused_as_one_server(cluster: Cluster) -> None:
    one = Connections(cluster.url.partition(",")[0].replace("+cluster", ""))
    try:
        with pytest.raises(SettingsInvalid, match=r"redis\+cluster://host:port,host:port"):
            await Rights(one).check()
    finally:
        await one.aclose()


async def test_one_server_is_refused_as_a_cluster(redis_url: str) -> None:
    url = redis_url.replace("redis://", "redis+cluster://").removesuffix("/0")
    several = Connections(url)
    try:
        with pytest.raises(SettingsInvalid, match="use redis://host:port"):
            await Rights(several).check()
    finally:
        await several.aclose()


async def test_doctor_shows_which_node_has_which_partitions(cluster: Cluster) -> None:
    found = await redis(Settings.model_validate({"redis_url": cluster.url}))
    shown = [str(finding) for finding in found if "has the partitions" in str(finding)]
    assert len(shown) >= 2, "the tests before may have emptied one of the masters"
    named = [
        int(word.strip(",")) for line in shown for word in line.split("partitions ")[1].split()
    ]
    assert sorted(named) == list(range(PARTITIONS))
    assert "sesame" not in "".join(map(str, found))


async def test_logs_are_compacted_and_requests_counted_again_in_every_partition(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    words = [f"{number} " for number in range(30)]
    upstream.script = answer(words)
    async with system(cluster, upstream) as api:
        ids = [await api.submit(str(number)) for number in range(20)]
        for request_id in ids:
            assert text_of(await collect(api.stream_url(request_id))) == "".join(words)
    connections = Connections(cluster.url, partitions=PARTITIONS)
    compaction, counts = Compaction(connections), Counts(connections, Settings())
    compacted = []
    for partition in range(PARTITIONS):
        for request_id in await compaction.due(partition, after_s=0, limit=99):
            assert await compaction.compact(partition, request_id) == "OK"
            compacted.append(request_id)
        assert await counts.recount(partition, every_s=0)
    await connections.aclose()
    assert sorted(compacted) == sorted(ids)
    async with system(cluster, upstream) as api:
        for request_id in ids:
            assert text_of(await collect(api.stream_url(request_id))) == "".join(words)


async def test_the_partitions_change_and_limits_stay_exact(cluster: Cluster) -> None:
    given: dict[str, Any] = {"redis_url": cluster.url, "partitions": 4, "tenant_limit": 40}
    settings = Settings.model_validate(given)
    async with open_rig(cluster.url, settings) as old, open_rig(cluster.url, settings) as new:
        for rig in (old, new):
            await rig.connections.agree_on_partitions(4)
        named = [{"idempotency_key": f"k{n}", "fingerprint": "f"} for n in range(10)]
        first = [await old.submit(**fields) for fields in named]
        talks = [await old.submit(conversation_id=f"c{n}") for n in range(10)]
        present = await Repartition(new.connections).change(16, lambda _: None, announce_s=0)
        assert [await old.submit(**fields) for fields in named] == first
        again = [await new.submit(conversation_id=f"c{n}") for n in range(10)]
        assert [*map(partition_of, again)] == [*map(partition_of, talks)]
        answers = await asyncio.gather(
            *((old, new)[n % 2].submit() for n in range(20)), return_exceptions=True
        )
        assert len([answer for answer in answers if isinstance(answer, str)]) == 10
        assert (await find_leftovers(new.connections, present))[4].conversations > 0
