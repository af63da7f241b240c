"""What a worker asks of the queue, on a real server."""

import asyncio

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import PAYLOAD, TENANT, Rig, open_rig
from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.broker.codec import Cursor, encode_data, encode_text
from tickertape.broker.errors import Fenced, TooLong, Unavailable
from tickertape.broker.leases import Attached, Lease, Nothing
from tickertape.broker.looks import Looks
from tickertape.broker.marks import Marks
from tickertape.broker.queue import Gap, Queue

DONE = encode_data("completed", {})


async def test_a_lease_has_all_the_fields_that_a_worker_needs(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = await broker.submit(conversation_id="c")
        lease = await broker.claim_lease()
        queued, opener = await broker.logs.entries(request_id)
        assert lease == Lease(
            request_id=request_id,
            attempt=opener.cursor.attempt,
            n=1,
            opener="started",
            prev=queued.cursor,
            payload={**PAYLOAD, "on_interruption": "restart"},
            crashes=0,
            retries=0,
            conversation=lease.conversation,
            tenant=TENANT,
        )
        assert lease.conversation
        assert opener.data["model"] == "m"
        assert isinstance(await broker.queue.claim(0, "another"), Nothing)


async def lose_worker(broker: Rig, *, ago_s: float) -> None:
    """Let the last lease have run out some time before its claim."""
    assert broker.lease is not None
    ended_ms = broker.lease.attempt - round(1000 * ago_s)
    await broker.connections.ask("ZADD", KEYS.running(0), "XX", ended_ms, broker.lease.request_id)


async def test_a_claim_says_how_long_its_request_waited_and_was_without_a_worker(
    redis_url: str,
) -> None:
    lease_s = 7
    async with open_rig(redis_url, GivenSettings(lease_s=lease_s)) as broker:
        request_id = await broker.submit()
        await broker.connections.ask("HINCRBY", KEYS.request(request_id), "created", -2000)
        first = await broker.claim_lease()
        assert 2 <= first.waited_s < 7
        assert first.away_s is None
        await lose_worker(broker, ago_s=1)
        second = await broker.claim_lease()
        assert second.away_s is not None
        # The lost worker renewed its lease for the last time a whole lease before the end.
        assert lease_s + 1 <= second.away_s < lease_s + 6
        assert second.waited_s >= first.waited_s
        await broker.queue.retry(second, 0, "later")
        assert (await broker.claim_lease()).away_s is None


async def test_claims_count_the_requests_that_they_end(redis_url: str) -> None:
    async with open_rig(redis_url, GivenSettings(max_crashes=2)) as broker:
        await broker.begin(on_interruption="fail")
        await broker.type("cut off")
        await lose_worker(broker, ago_s=1)
        assert isinstance(await broker.queue.claim(0, "n"), Nothing)
        assert broker.queue.failed_by_claims == {"poison": 0, "interrupted": 1}
        await broker.begin()
        await lose_worker(broker, ago_s=1)
        await broker.claim_lease()
        await lose_worker(broker, ago_s=1)
        assert isinstance(await broker.queue.claim(0, "m"), Nothing)
        assert broker.queue.failed_by_claims == {"poison": 1, "interrupted": 1}


async def test_an_empty_claim_has_the_time_until_a_request_is_due(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        assert await broker.queue.claim(0, "n") == Nothing(None)
        await broker.queue.retry(await broker.leased(), 60_000, "later")
        got = await broker.queue.claim(0, "m")
        assert isinstance(got, Nothing)
        assert got.next_ms is not None
        assert 50_000 < got.next_ms <= 60_001


async def test_each_verb_of_a_stale_lease_is_fenced(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        stale = await broker.leased()
        await broker.queue.release(stale)
        lease = await broker.claim_lease()
        queue = broker.queue
        for call in (
            queue.reopen(stale, "n", "cut"),
            queue.retry(stale, 1, "later"),
            queue.release(stale),
            queue.finish(stale, "completed", 1, [DONE]),
        ):
            with pytest.raises(Fenced):
                await call
        assert await queue.renew([stale, lease]) == [stale]
        assert (await broker.requests.get(lease.request_id, TENANT)).attempt == lease.attempt


async def test_a_reopened_lease_is_the_same_request_in_a_new_attempt(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        lease = await broker.leased()
        again = await broker.queue.reopen(lease, "n", 'said "no"')
        assert again is not None
        assert again.attempt > lease.attempt
        assert (again.n, again.opener, again.prev) == (2, "started", Cursor(lease.attempt, 0))
        assert (again.request_id, again.payload) == (lease.request_id, lease.payload)


@pytest.mark.parametrize(("keeping", "opener"), [(["b", "a"], "resumed"), (["b"], "reset")])
async def test_an_answer_that_an_upstream_keeps_is_read_on_by_a_queue_that_has_this_upstream(
    redis_url: str, keeping: list[str], opener: str
) -> None:
    async with open_rig(redis_url) as broker:
        lease = await broker.leased()
        await broker.type("a")
        await Marks(broker.connections).attach(lease, Attached("a", "1"))
        await broker.queue.release(lease)
        queue = Queue(broker.connections, broker.settings, worker="w", keeping=keeping)
        is_kept = opener == "resumed"
        for _ in range(2):  # the reply may be lost
            again = await queue.claim(0, "again")
            assert isinstance(again, Lease)
            assert (again.opener, again.attached) == (
                opener,
                Attached("a", "1") if is_kept else None,
            )
        assert await broker.has_mark(lease.request_id) == is_kept


async def test_a_policy_that_forbids_another_attempt_ends_the_request(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        lease = await broker.leased(on_interruption="continue")
        values = [encode_text("delta", "a"), DONE]
        assert await broker.queue.finish(lease, "completed", 9, values) == Gap(0)
        again = await broker.queue.reopen(lease, "n", "cut", can_continue=True)
        assert again is not None
        await broker.connections.ask("HSET", KEYS.request(lease.request_id), "seq", "0", "kept", 1)
        assert await broker.queue.reopen(again, "m", "cut") is None
        record = await broker.requests.get(lease.request_id, TENANT)
        assert record.state == "failed"


async def test_a_finish_returns_the_end_of_the_log_when_it_is_elsewhere(redis_url: str) -> None:
    async with open_rig(redis_url, GivenSettings(max_output_bytes=1024)) as broker:
        lease = await broker.leased()
        assert await broker.queue.finish(lease, "completed", 5, [DONE]) == Gap(0)
        with pytest.raises(TooLong):
            await broker.queue.finish(
                lease, "completed", 1, [encode_text("delta", "x" * 1024), DONE]
            )
        values = [encode_text("delta", "x"), DONE]
        usage = {"tokens": 3}
        for _ in range(2):
            assert await broker.queue.finish(lease, "completed", 1, values, usage=usage) is None
        assert await broker.texts(lease.request_id) == ["x"]
        record = await broker.requests.get_with_usage(lease.request_id, TENANT)
        assert record.usage == {str(lease.attempt): usage}


async def test_without_a_server_every_verb_is_unavailable(own_redis: ValkeyServer) -> None:
    async with open_rig(own_redis.url) as broker:
        lease = await broker.leased()
        own_redis.kill()
        for call in (
            broker.queue.claim(0, "n"),
            broker.queue.renew([lease]),
            Looks(broker.connections).look(0),
            Looks(broker.connections).has_waiting(1),
            broker.queue.account(lease, {}),
        ):
            with pytest.raises(Unavailable):
                await call
        own_redis.start()


@pytest.mark.slow
async def test_an_outage_of_redis_does_not_take_a_request_from_a_healthy_worker(
    own_redis: ValkeyServer,
) -> None:
    """Its lease ran out while Redis was away, and another worker claims first."""
    settings = GivenSettings(lease_s=0.5)
    async with (
        open_rig(own_redis.url, settings) as healthy,
        open_rig(own_redis.url, settings) as other,
    ):
        lease = await healthy.leased()
        own_redis.pause()
        paused_at = asyncio.get_running_loop().time()
        await wait_until(
            lambda: asyncio.get_running_loop().time() > paused_at + 2,
            description="Redis was away for longer than the lease and the usual pause of claims",
        )
        own_redis.resume()
        assert isinstance(await other.queue.claim(0, "n"), Nothing)
        assert await healthy.queue.renew([lease]) == []
        record = await healthy.requests.get(lease.request_id, TENANT)
        assert (record.state, record.n) == ("running", 1)


async def test_a_worker_that_dies_is_replaced_within_its_lease_and_a_second(
    redis_url: str,
) -> None:
    async with open_rig(redis_url, GivenSettings(lease_s=0.5)) as broker:
        dead = await broker.leased()
        numbers = iter(range(1000))

        async def taken_over() -> Lease | None:
            got = await broker.queue.claim(0, f"m{next(numbers)}")
            return got if isinstance(got, Lease) else None

        lease = await wait_until(taken_over, timeout_s=1.5, description="the takeover")
        assert lease is not None
        assert (lease.request_id, lease.crashes, lease.n) == (dead.request_id, 1, 2)
