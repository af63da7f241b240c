"""Reports of processes, and the depth of the queue, on a real server."""

import redis
from msgspec.structs import replace

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tickertape.broker.fleet import ApiReport, Fleet, WorkerReport
from tickertape.broker.queue_depth import read_last_claim, read_queue_depth

REPORT = WorkerReport(
    slots=8, running=3, deltas=70, deltas_per_s=12.5, takeovers=1, functions=("agent",)
)


async def test_reports_of_all_processes_are_read_back_with_their_age(worker: Rig) -> None:
    fleet = Fleet(worker.connections)
    await fleet.report("w1", REPORT)
    await fleet.report("w2", WorkerReport(slots=1, running=0, is_draining=True))
    await fleet.report("a1", ApiReport(open_streams=4, watchers=2))
    members = await fleet.members()
    assert members.workers[0].report == REPORT
    assert len(members.workers) == 2
    assert all(0 <= seen.age_s < 5 for seen in members.workers)
    assert list(members.apis) == [ApiReport(open_streams=4, watchers=2)]
    assert members.has_claiming_worker


async def test_a_worker_that_drains_claims_no_more(worker: Rig) -> None:
    fleet = Fleet(worker.connections)
    await fleet.report("w", WorkerReport(slots=1, running=0, is_draining=True))
    assert not (await fleet.members()).has_claiming_worker


async def test_an_expired_report_leaves_nothing_behind(worker: Rig) -> None:
    fleet = Fleet(worker.connections)
    await fleet.report("w", REPORT)
    with redis.Redis.from_url(worker.url) as client:
        assert client.pttl(KEYS.report("worker:w")) > 0
        client.delete(KEYS.report("worker:w"))
        assert (await fleet.members()).workers == []
        announced = {KEYS.announced(), KEYS.announcement(""), KEYS.announcement("agent")}
        assert {name.decode() for name in client.scan_iter()} == announced
        assert all(3590 < client.ttl(name) <= 3600 for name in announced)


async def test_the_pools_of_a_worker_are_known_for_an_hour_after_its_last_report(
    worker: Rig,
) -> None:
    fleet = Fleet(worker.connections)
    await fleet.report("w", REPORT)
    await fleet.leave("w", WorkerReport)
    members = await fleet.members()
    assert {name: round(age_s) for name, age_s in members.announced.items()} == {"": 0, "agent": 0}
    await worker.connections.ask("PEXPIRE", KEYS.announcement("agent"), 1000)
    assert round((await fleet.members()).announced["agent"]) == 3599
    await worker.connections.ask("DEL", KEYS.announcement("agent"))
    assert set((await fleet.members()).announced) == {""}
    assert await worker.connections.ask("SMEMBERS", KEYS.announced()) == {b""}


async def test_a_worker_serves_its_pools_until_it_drains(worker: Rig) -> None:
    fleet = Fleet(worker.connections)
    report = WorkerReport(slots=1, running=0, functions=("agent",), serves_upstream=False)
    await fleet.report("w", report)
    members = await fleet.members()
    assert [members.serves(pool) for pool in ("agent", "other", "")] == [True, False, False]
    await fleet.report("w", replace(report, is_draining=True))
    assert not (await fleet.members()).serves("agent")


async def test_a_process_that_leaves_is_gone_at_once(worker: Rig) -> None:
    fleet = Fleet(worker.connections)
    await fleet.report("w", REPORT)
    await fleet.leave("w", WorkerReport)
    assert (await fleet.members()).workers == []


async def test_the_queue_is_measured_over_all_its_states(worker: Rig) -> None:
    empty = await read_queue_depth(worker.connections)
    assert (empty.waiting, empty.running, empty.delayed, empty.held, empty.dead) == (0, 0, 0, 0, 0)
    assert (empty.oldest_s, empty.claimed_s) == (None, None)
    await worker.leased()
    await worker.submit(conversation_id="c")
    await worker.submit(conversation_id="c")
    await worker.submit(tenant="other")
    depth = await read_queue_depth(worker.connections)
    assert (depth.waiting, depth.running, depth.delayed, depth.held) == (2, 1, 0, 1)
    assert depth.oldest_s is not None
    assert 0 <= depth.oldest_s < 30
    lease = await worker.claim_lease()
    await worker.queue.retry(lease, 60_000, "upstream_error", None)
    assert (await read_queue_depth(worker.connections)).delayed == 1


async def test_the_last_claim_of_any_worker_is_known(worker: Rig) -> None:
    assert (await read_last_claim(worker.connections)).claimed_s is None
    await worker.leased()
    last = await read_last_claim(worker.connections)
    assert last.claimed_s is not None
    assert 0 <= last.now_s - last.claimed_s < 30
