"""SUBMIT: accepted whole and found again, or refused and without a trace."""

import json

from tests.broker.checked_partition import Go
from tests.broker.partition import Partition


async def test_an_accepted_request_waits_in_line_with_its_first_entry(partition: Partition) -> None:
    assert await partition.submit("a", payload='{"m":1}', policy="fail") == ("OK", "a")
    now = await partition.snapshot()
    stored = now.hash("req:a")
    assert (stored["state"], stored["n"], stored["payload"]) == ("queued", "0", '{"m":1}')
    assert (stored["policy"], stored["tenant"], stored["bytes"]) == ("fail", "t", "15")
    assert now.get("log:a") == [[f"{stored['attempt']}-0", {"e": 'Q{"v":1}'}]]
    assert (now.get("ring"), now.get("wait:t"), now.get("wake")) == (["t"], ["a"], ["1"])
    assert now.get("index:t") == [("a", int(stored["created"]))]


async def test_submitting_the_same_id_again_changes_nothing(partition: Partition) -> None:
    await partition.submit("a")
    async with partition.unchanged():
        assert await partition.submit("a") == ("EXISTS", "a")
    await partition.take()
    async with partition.unchanged():
        assert await partition.submit("a") == ("EXISTS", "a")
    await partition.cancel("a")
    async with partition.unchanged():
        assert await partition.submit("a") == ("EXISTS", "a")


async def test_an_idempotency_key_finds_its_request_in_every_state(partition: Partition) -> None:
    await partition.submit("a", idem="k")

    async def comes_back() -> None:
        async with partition.unchanged():
            assert await partition.submit("b", idem="k") == ("EXISTS", "a")
            assert await partition.submit("b", idem="k", fingerprint="g") == ("CONFLICT", "a")

    await comes_back()
    go = await partition.take()
    await comes_back()
    await partition.finish(go, 1)
    await comes_back()
    assert (await partition.snapshot()).keys["idem:k"].expires


async def test_an_idempotency_key_wins_over_every_limit(partition: Partition) -> None:
    await partition.submit("a", idem="k")
    full = await partition.submit("b", idem="k", queue_limit=1, tenant_limit=1, queue_bytes=0)
    assert full == ("EXISTS", "a")


async def test_a_full_queue_refuses_and_keeps_nothing(partition: Partition) -> None:
    await partition.submit("a", payload="12345")
    async with partition.unchanged():
        assert await partition.submit("b", "u", idem="k", conv="c", queue_limit=1) == ("FULL", "")
        # The first entry of the log and the question among the turns count, too.
        assert await partition.submit("b", "u", idem="k", conv="c", queue_bytes=31) == ("FULL", "")
        assert await partition.submit("b", queue_bytes=22) == ("FULL", "")
    assert await partition.submit("b", queue_limit=2, queue_bytes=23) == ("OK", "b")


async def test_a_running_request_counts_and_one_that_is_over_does_not(partition: Partition) -> None:
    await partition.submit("a")
    go = await partition.take()
    assert await partition.submit("b", queue_limit=1) == ("FULL", "")
    assert await partition.submit("b", tenant_limit=1) == ("TENANT_LIMIT", "")
    await partition.finish(go, 1)
    assert await partition.submit("b", queue_limit=1, tenant_limit=1) == ("OK", "b")


async def test_a_tenant_at_its_limit_is_refused_and_the_others_are_not(
    partition: Partition,
) -> None:
    await partition.submit("a")
    async with partition.unchanged():
        limit = await partition.submit("b", idem="k", conv="c", on_busy="replace", tenant_limit=1)
        assert limit == ("TENANT_LIMIT", "")
    assert await partition.submit("b", "u", tenant_limit=1) == ("OK", "b")


async def test_tenants_take_turns_whatever_they_submitted(partition: Partition) -> None:
    for number in range(4):
        await partition.submit(f"noisy{number}", "noisy")
    await partition.submit("quiet0", "quiet")
    await partition.submit("quiet1", "quiet")
    order = [(await partition.take()).id for _ in range(6)]
    assert order == ["noisy0", "quiet0", "noisy1", "quiet1", "noisy2", "noisy3"]


async def test_many_submits_leave_a_bounded_number_of_tokens(partition: Partition) -> None:
    await partition.client.rpush("{p0}:wake", *["1"] * 62)
    for number in range(4):
        await partition.submit(f"a{number}")
    assert await partition.tokens() == 64


async def test_the_opener_names_the_model_that_was_asked_for_or_the_worker_s(
    partition: Partition,
) -> None:
    await partition.submit("a", model='"asked"')
    await partition.submit("b", model="")
    for expected in ("asked", "default"):
        go = await partition.take()
        entries = (await partition.snapshot()).list(f"log:{go.id}")
        opener = json.loads(entries[-1][1]["e"][1:])
        assert opener == {"v": 1, "prev": go.prev, "n": 1, "model": expected}


async def test_a_tenant_s_index_drops_expired_requests(partition: Partition) -> None:
    for number in range(20):
        await partition.submit(f"a{number}")
        await partition.cancel(f"a{number}")
    await partition.client.zadd("{p0}:expiry:t", {f"a{n}": 1 for n in range(18)}, xx=True)
    await partition.submit("b")
    assert len((await partition.snapshot()).list("index:t")) == 21 - 16
    await partition.submit("c")
    index = (await partition.snapshot()).list("index:t")
    assert [row[0] for row in index] == ["a18", "a19", "b", "c"]


async def test_a_tenant_s_index_ages_only_while_nothing_is_in_flight(partition: Partition) -> None:
    await partition.submit("a")
    await partition.submit("b")
    await partition.cancel("a")
    assert not (await partition.snapshot()).keys["index:t"].expires
    await partition.cancel("b")
    now = await partition.snapshot()
    assert now.keys["index:t"].expires
    assert now.keys["expiry:t"].expires
    await partition.submit("c")
    now = await partition.snapshot()
    assert not now.keys["index:t"].expires
    assert not now.keys["expiry:t"].expires


async def test_names_and_payloads_are_only_ever_data(partition: Partition) -> None:
    tenant = "{p9}:*\r\n' .. \x00 é"
    await partition.submit("a", tenant, payload='{"text":"\\u0000 \' [[ ]] \n"}')
    go = await partition.claim()
    assert isinstance(go, Go)
    assert (go.tenant, go.payload) == (tenant, '{"text":"\\u0000 \' [[ ]] \n"}')
    await partition.finish(go, 1, "}\r\n:0\x00")
    assert await partition.log("a") == ["queued", "started", "'}\r\n:0\x00'", "completed"]


async def test_a_fenced_partition_refuses_a_submit_of_an_older_map_without_a_trace(
    partition: Partition,
) -> None:
    await partition.submit("a", idem="k", epoch=2)
    assert (await partition.snapshot()).get("epoch") == "2"
    async with partition.unchanged():
        assert await partition.submit("b", epoch=1) == ("STALE", "")
        # A repeated call must find what its first call made, whatever happened since.
        assert await partition.submit("a", epoch=1) == ("EXISTS", "a")
        assert await partition.submit("b", idem="k", epoch=1) == ("EXISTS", "a")
    assert await partition.submit("b", epoch=2) == ("OK", "b")


async def test_a_submit_for_a_known_conversation_is_refused_when_it_is_gone(
    partition: Partition,
) -> None:
    async with partition.unchanged():
        assert await partition.submit("a", conv="c", must_be_known=True) == ("ELSEWHERE", "")
        assert await partition.submit("a", idem="k", must_be_known=True) == ("ELSEWHERE", "")
    await partition.submit("a", conv="c", idem="k")
    assert await partition.submit("b", conv="c", must_be_known=True) == ("OK", "b")
    assert await partition.submit("b2", idem="k", must_be_known=True) == ("EXISTS", "a")
