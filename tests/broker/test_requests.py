"""What the API asks of the broker, on a real server."""

import asyncio

import pytest

from tests.broker.address import port_of, through
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.rig import TENANT, Rig, open_rig
from tests.support.wait import wait_until
from tickertape.broker import request_ids, short_outage
from tickertape.broker.codec import encode_data
from tickertape.broker.errors import (
    ConversationBusy,
    IdempotencyConflict,
    NotFinished,
    QueueFull,
    RequestMissing,
    TenantLimitReached,
    Unavailable,
)
from tickertape.broker.requests import Record
from tickertape.broker.submission import Submission


async def newest(broker: Rig, tenant: str = TENANT, before_ms: int | None = None) -> list[str]:
    listed = broker.requests.newest(tenant, before_ms)
    return [request_id async for _, request_id, record in listed if record is not None]


async def test_reading_a_request_with_a_huge_prompt_does_not_move_the_prompt(
    redis_url: str,
) -> None:
    payload = {"messages": [{"role": "user", "content": "x" * 1_000_000}]}
    async with open_rig(redis_url) as broker:
        request_id = await broker.begin(payload=payload)
        assert broker.lease is not None
        await broker.queue.account(broker.lease, {"tokens": 1})
        before = await sent_bytes(broker)
        record = await broker.requests.get(request_id, TENANT)
        shown = await broker.requests.get_with_usage(request_id, TENANT)
        assert await newest(broker) == [request_id]
        assert await sent_bytes(broker) - before < 100_000
        assert (record.usage, shown.n) == ({}, 1)
        assert shown.usage == {str(shown.attempt): {"tokens": 1}}


async def sent_bytes(broker: Rig) -> int:
    """The bytes that the server has sent to all of its clients."""
    return int((await broker.connections.ask("INFO", "stats"))["total_net_output_bytes"])


async def test_a_record_has_the_fields_that_stand_beside_the_log(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = await broker.submit(head={"role": "é"}, model="asked")
        record = await broker.requests.get(request_id, TENANT)
        assert record == Record(
            request_id=request_id,
            tenant=TENANT,
            state="queued",
            attempt=record.created_ms,
            seq=0,
            n=0,
            created_ms=record.created_ms,
            ended_ms=None,
            head={"role": "é"},
            waiting=None,
            usage={},
        )
        assert (record.status, record.is_over) == ("queued", False)

        lease = await broker.claim_lease()
        await broker.queue.account(lease, {"tokens": 1})
        await broker.queue.retry(lease, 60_000, "rate_limited")
        record = await broker.requests.get_with_usage(request_id, TENANT)
        assert (record.state, record.status, record.n) == ("delayed", "queued", 1)
        assert record.waiting is not None
        assert record.waiting["reason"] == "rate_limited"
        assert record.waiting["until"] > record.attempt
        assert record.usage == {str(lease.attempt): {"tokens": 1}}

        await broker.requests.cancel(request_id, TENANT)
        record = await broker.requests.get(request_id, TENANT)
        assert (record.state, record.status, record.is_over) == ("cancelled", "cancelled", True)
        assert record.waiting is None
        assert record.ended_ms is not None
        assert record.ended_ms >= record.created_ms


async def test_the_log_begins_with_the_question(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        question = [{"role": "user", "content": "hi"}]
        alone = await broker.submit(head={"role": "r"}, question=question)
        talking = await broker.submit(head={"role": "r"}, question=question, conversation_id="c")
        [entry] = await broker.logs.entries(alone)
        assert entry.data == {"v": 1, "role": "r"}
        [entry] = await broker.logs.entries(talking)
        assert entry.data == {"v": 1, "role": "r", "messages": question}
        echoed = await broker.submit(echo={"tools": []})
        [entry] = await broker.logs.entries(echoed)
        assert entry.data == {"v": 1, "echo": {"tools": []}}


async def test_every_refusal_has_a_distinct_error(redis_url: str) -> None:
    settings = GivenSettings(queue_limit=3, tenant_limit=2, queue_bytes=1024)
    async with open_rig(redis_url, settings) as broker:
        request_id = await broker.submit(idempotency_key="k", conversation_id="c", fingerprint="f")
        with pytest.raises(IdempotencyConflict):
            await broker.submit(idempotency_key="k", conversation_id="c", fingerprint="g")
        with pytest.raises(ConversationBusy, match=request_id) as busy:
            await broker.submit(conversation_id="c", on_busy="reject")
        assert busy.value.active_request_id == request_id
        too_large = Submission(tenant="u", payload={"p": "x" * 1024})
        with pytest.raises(QueueFull):
            await broker.requests.submit(too_large)
        await broker.submit()
        with pytest.raises(TenantLimitReached):
            await broker.submit()
        await broker.submit("u")
        with pytest.raises(QueueFull):
            await broker.submit("v")


async def test_a_request_of_another_tenant_is_missing(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = await broker.submit()
        for call in (broker.requests.get, broker.requests.cancel, broker.requests.erase):
            with pytest.raises(RequestMissing):
                await call(request_id, "u")
        assert await broker.requests.position(request_id, "u") is None
        assert await newest(broker, "u") == []
        assert (await broker.requests.get(request_id, TENANT)).state == "queued"


@pytest.mark.parametrize("text", ["", "r0_", "r1_" + "a" * 26, "../r0", "r0_" + "a" * 26])
async def test_an_id_that_names_nothing_is_missing(redis_url: str, text: str) -> None:
    async with open_rig(redis_url) as broker:
        for call in (broker.requests.get, broker.requests.cancel, broker.requests.erase):
            with pytest.raises(RequestMissing):
                await call(text, TENANT)


async def test_only_a_request_that_is_over_is_erased(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = await broker.submit()
        with pytest.raises(NotFinished):
            await broker.requests.erase(request_id, TENANT)
        assert (await broker.requests.cancel(request_id, TENANT)).status == "cancelled"
        await broker.requests.erase(request_id, TENANT)
        with pytest.raises(RequestMissing):
            await broker.requests.get(request_id, TENANT)


async def test_a_cancel_tells_how_the_request_had_ended(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        lease = await broker.leased()
        await broker.queue.finish(lease, "completed", 1, [encode_data("completed", {})])
        assert (await broker.requests.cancel(lease.request_id, TENANT)).status == "completed"


async def test_many_submits_with_one_key_are_one_request(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        submission = Submission(tenant=TENANT, payload={}, idempotency_key="k", fingerprint="f")
        answers = await asyncio.gather(*(broker.requests.submit(submission) for _ in range(50)))
        assert len({answer.request_id for answer in answers}) == 1
        assert [answer.is_new for answer in answers].count(True) == 1


async def test_the_scope_of_a_key_is_the_tenant_and_the_conversation(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        ids = {
            await broker.submit(TENANT, idempotency_key="k"),
            await broker.submit("u", idempotency_key="k"),
            await broker.submit(TENANT, idempotency_key="k", conversation_id="c"),
            await broker.submit(TENANT, idempotency_key="k", conversation_id="d"),
            await broker.submit(TENANT, idempotency_key="l"),
        }
        assert len(ids) == 5


async def test_a_submit_whose_reply_was_lost_is_made_once(redis_url: str) -> None:
    async with (
        FaultProxy(port_of(redis_url)) as proxy,
        open_rig(through(proxy, redis_url)) as broker,
    ):
        await broker.submit()
        lost = proxy.lose_reply_to(b"EVALSHA")
        request_id = await broker.submit()
        assert lost.is_set()
        # Two in one millisecond are listed in either order.
        assert request_id in await newest(broker)
        assert int(await broker.connections.ask("HGET", KEYS.load(0), "count")) == 2


async def test_a_server_that_forgot_the_scripts_gets_them_again(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        request_id = await broker.submit()
        await broker.connections.ask("SCRIPT", "FLUSH")
        assert await broker.requests.position(request_id, TENANT) == 0


async def test_without_a_server_a_submit_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_outage, "MOST_WAITING", 0)
    async with open_rig("redis://127.0.0.1:1") as broker:
        with pytest.raises(Unavailable):
            await broker.submit()


async def test_requests_are_listed_newest_first(redis_url: str) -> None:
    async with open_rig(redis_url, GivenSettings(partitions=3)) as broker:
        created: dict[int, str] = {}

        async def one_more() -> bool:
            """Each in a millisecond of its own, so that the order is known."""
            request_id = await broker.submit()
            record = await broker.requests.get(request_id, TENANT)
            created[record.created_ms] = request_id
            return len(created) >= 6

        await wait_until(one_more, description="six requests in different milliseconds")
        order = [created[ms] for ms in sorted(created, reverse=True)]
        listed = await newest(broker)
        assert [request_id for request_id in listed if request_id in order] == order
        third_ms = sorted(created, reverse=True)[2]
        assert await newest(broker, before_ms=third_ms) == [
            request_id for request_id in listed if listed.index(request_id) > listed.index(order[2])
        ]


async def test_an_expired_request_is_not_listed(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        kept, erased, expired = [await broker.submit() for _ in range(3)]
        for request_id in (erased, expired):
            await broker.requests.cancel(request_id, TENANT)
        await broker.requests.erase(erased, TENANT)
        await broker.connections.ask("DEL", KEYS.request(expired))
        assert await newest(broker) == [kept]


async def test_what_belongs_together_shares_a_partition(redis_url: str) -> None:
    async with open_rig(redis_url, GivenSettings(partitions=64, tenant_limit=6400)) as broker:
        talk = {
            request_ids.partition_of(await broker.submit(conversation_id="c", idempotency_key=key))
            for key in (None, "k", "l")
        }
        assert len(talk) == 1
        keyed = {
            request_ids.partition_of(await broker.submit(idempotency_key="k")) for _ in range(3)
        }
        assert len(keyed) == 1
        free = {request_ids.partition_of(await broker.submit()) for _ in range(60)}
        assert len(free) > 10
