"""A request that needs a newer worker waits for one, and costs older workers one look at it."""

from tests.broker.checked_partition import Go
from tests.broker.partition import Empty, Partition
from tests.support.keyspace import KEYS
from tests.support.rig import open_rig, working
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.leases import Lease, Nothing
from tickertape.broker.looks import Look, Looks
from tickertape.broker.queue import Queue
from tickertape.runtime.settings import Settings


async def take(partition: Partition, format_: int) -> str:
    got = await partition.claim(format_=format_)
    assert isinstance(got, Go)
    return got.id


async def newer(partition: Partition) -> list[str]:
    return [id_ for id_, _ in (await partition.snapshot()).list("newer")]


async def test_an_older_worker_leaves_it_and_takes_what_follows(partition: Partition) -> None:
    await partition.submit("new", format_=3)
    await partition.submit("old")
    assert await take(partition, 2) == "old"
    assert await newer(partition) == ["new"]
    assert await partition.state("new") == "queued"
    assert await partition.log("new") == ["queued"]
    assert isinstance(await partition.claim(format_=2), Empty)
    assert await newer(partition) == ["new"]


async def test_an_older_worker_with_nothing_else_to_do_is_idle(partition: Partition) -> None:
    await partition.submit("new", format_=3)
    assert await partition.claim(format_=2) == Empty(-1)
    assert await partition.claim(format_=2) == Empty(-1)
    assert [worker for worker, _ in (await partition.snapshot()).list("idle")] == ["w"]


async def test_newer_workers_take_what_older_ones_left_and_first(partition: Partition) -> None:
    await partition.submit("new", format_=3)
    await partition.submit("newest", format_=4)
    assert await partition.claim(format_=2) == Empty(-1)
    await partition.submit("old")
    assert await take(partition, 3) == "new"
    assert await take(partition, 3) == "old"
    assert await newer(partition) == ["newest"]
    assert await take(partition, 4) == "newest"
    assert await newer(partition) == []


async def test_a_newer_worker_claims_all_that_wait_for_it_without_a_pause(
    partition: Partition,
) -> None:
    for id_ in "ab":
        await partition.submit(id_, format_=3)
    assert await partition.claim(format_=2) == Empty(-1)
    assert await take(partition, 3) == "a"
    assert partition.next_ms == 0
    assert await take(partition, 3) == "b"


async def test_an_older_worker_takes_a_dead_newer_worker_s_request_back_for_a_newer_one(
    partition: Partition,
) -> None:
    await partition.submit("new", format_=3)
    got = await partition.claim(format_=3)
    assert isinstance(got, Go)
    await partition.append(got, 1, "x")
    await partition.end_lease(got)
    assert await partition.claim(format_=2) == Empty(-1)
    assert await newer(partition) == ["new"]
    assert await take(partition, 3) == "new"
    assert (await partition.log("new"))[-1] == "reset"


async def test_a_suspect_that_needs_a_newer_worker_is_taken_only_as_a_suspect(
    partition: Partition,
) -> None:
    partition.max_crashes = 2
    await partition.submit("new", format_=3)
    got = await partition.claim(format_=3)
    assert isinstance(got, Go)
    await partition.end_lease(got)
    assert await partition.claim(format_=2) == Empty(-1)
    assert await partition.claim(format_=3, suspect_ok=False) == Empty(-1)
    assert await take(partition, 3) == "new"


async def test_it_can_be_cancelled_while_it_waits(partition: Partition) -> None:
    await partition.submit("new", format_=3)
    assert await partition.claim(format_=2) == Empty(-1)
    await partition.cancel("new")
    assert await newer(partition) == []
    assert await partition.log("new") == ["queued", "cancelled"]


async def test_a_running_worker_leaves_it_and_goes_on_with_others(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings.model_validate({"openai_base_url": upstream.base_url, "openai_model": "m"})
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
        request_id = await rig.ask("later", format=3)
        other = await rig.ask()
        assert (await rig.ended(other)).status == "completed"
        assert await rig.connections.ask("ZRANGE", KEYS.newer(0), 0, -1) == [request_id.encode()]
        assert [entry.kind for entry in await rig.entries(request_id)] == ["queued"]
        newer_worker = Queue(rig.connections, settings, worker="new", newest_format=3)
        lease = await newer_worker.claim(0, "nonce")
        assert isinstance(lease, Lease)
        assert lease.request_id == request_id
    assert len(upstream.calls) == 1


async def test_only_the_looks_of_newer_workers_find_it(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        request_id = await rig.submit(format=3)
        old = Queue(rig.connections, rig.settings, worker="old")
        new = Queue(rig.connections, rig.settings, worker="new", newest_format=3)
        assert await old.claim(0, "1") == Nothing(None)
        assert await Looks(rig.connections).look(0) == Look()
        assert (await Looks(rig.connections, newest_format=3).look(0)).has_waiting
        lease = await new.claim(0, "2")
        assert isinstance(lease, Lease)
        assert lease.request_id == request_id
        assert not (await Looks(rig.connections, newest_format=3).look(0)).has_waiting
