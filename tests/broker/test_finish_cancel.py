"""FINISH, CANCEL and ACCOUNT: a request ends once, whatever it does, and lets go of all it held."""

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import CONVERSATION_TTL_S, RETENTION_S, Partition
from tickertape.broker.kinds import Terminal


async def running(partition: Partition, id_: str = "a") -> Go:
    await partition.submit(id_)
    return await partition.take()


async def bring_to(partition: Partition, state: str) -> Go:
    """Request "a" in a state, and its last attempt; "held" behind request "z"."""
    if state == "held":
        await partition.submit("z", conv="c")
        await partition.submit("a", conv="c", idem="k")
        return Go("a", 0, 0, "", "", "", 0, 0, "c", "t")
    await partition.submit("a", conv="c", idem="k")
    if state == "queued":
        return Go("a", 0, 0, "", "", "", 0, 0, "c", "t")
    go = await partition.take()
    await partition.append(go, 1, "x")
    match state:
        case "delayed":
            await partition.retry(go)
        case "dead worker":
            await partition.end_lease(go)
        case "reaped":
            await partition.end_lease(go)
            await partition.claim(take=False)
        case "cancelled":
            await partition.cancel("a")
        case "completed" | "failed":
            await partition.finish(go, 2, state=state)
    return go


async def test_the_last_entries_and_the_terminal_are_written_together(partition: Partition) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a")
    assert await partition.finish(go, 2, "b", "c", usage='{"tokens":3}') == ("OK", 4)
    assert await partition.log("a") == ["queued", "started", "'a'", "'b'", "'c'", "completed"]
    now = await partition.snapshot()
    assert now.hash("req:a")[f"usage:{go.attempt}"] == '{"tokens":3}'
    assert int(now.hash("req:a")["ended"]) >= go.attempt
    assert not now.list("running")


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_a_repeated_finish_changes_nothing(partition: Partition, state: Terminal) -> None:
    go = await running(partition)
    assert await partition.finish(go, 1, "a", state=state) == ("OK", 2)
    async with partition.unchanged():
        assert await partition.finish(go, 1, "a", state=state) == ("DUP", 2)


async def test_entries_that_are_there_already_are_not_written_twice(partition: Partition) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a", "b")
    assert await partition.finish(go, 1, "a", "b", "c") == ("OK", 4)
    assert await partition.log("a") == ["queued", "started", "'a'", "'b'", "'c'", "completed"]


async def test_a_finish_elsewhere_than_at_the_end_of_the_log_is_refused(
    partition: Partition,
) -> None:
    go = await running(partition)
    await partition.append(go, 1, "a", "b")
    async with partition.unchanged():
        assert await partition.finish(go, 4) == ("GAP", 2)
        assert await partition.finish(go, 5, "e") == ("GAP", 2)
        assert await partition.finish(go, 1) == ("GAP", 2)
        assert await partition.finish(go, 1, "a") == ("GAP", 2)
    assert await partition.finish(go, 3) == ("OK", 3)


async def test_last_entries_beyond_the_bound_are_refused_and_the_terminal_never_is(
    partition: Partition,
) -> None:
    go = await running(partition)
    await partition.append(go, 1, "abc")
    async with partition.unchanged():
        assert await partition.finish(go, 2, "d", max_bytes=5) == ("TOO_LONG", 1)
        assert await partition.finish(go, 1, "abc", "d", max_bytes=5) == ("TOO_LONG", 1)
    assert await partition.finish(go, 2, max_bytes=1) == ("OK", 2)


@pytest.mark.parametrize("state", ["queued", "delayed", "cancelled", "failed"])
async def test_only_a_running_request_can_be_finished(partition: Partition, state: str) -> None:
    go = await bring_to(partition, state)
    if state == "queued":
        go = go._replace(attempt=int(await partition.field("a", "attempt") or 0))
    async with partition.unchanged():
        assert await partition.finish(go, 2) == ("FENCED", state)


async def test_a_request_that_is_gone_cannot_be_finished_or_accounted(
    partition: Partition,
) -> None:
    go = await bring_to(partition, "completed")
    await partition.erase("a")
    async with partition.unchanged():
        assert await partition.finish(go, 2) == ("FENCED", "missing")
        assert await partition.account(go, "{}") == ("MISSING", "")


async def test_the_usage_of_an_attempt_is_noted_once(partition: Partition) -> None:
    go = await running(partition)
    assert await partition.account(go, '{"tokens":1}') == ("OK", "")
    async with partition.unchanged():
        assert await partition.account(go, '{"tokens":2}') == ("DUP", "")
    await partition.finish(go, 1, usage='{"tokens":3}')
    assert await partition.field("a", f"usage:{go.attempt}") == '{"tokens":1}'
    later = go._replace(attempt=go.attempt + 1)
    assert await partition.account(later, '{"tokens":4}') == ("OK", "")
    assert (await partition.snapshot()).keys["req:a"].expires


@pytest.mark.parametrize("state", ["queued", "held", "delayed", "running", "dead worker", "reaped"])
async def test_a_request_is_cancelled_whatever_it_is_doing(
    partition: Partition, state: str
) -> None:
    go = await bring_to(partition, state)
    assert await partition.cancel("a") == ("OK", "cancelled")
    assert (await partition.log("a"))[-1] == "cancelled"
    assert await partition.field("a", "waiting") is None
    async with partition.unchanged():
        assert await partition.cancel("a") == ("TERMINAL", "cancelled")
        assert await partition.append(go, 2, "y") == ("FENCED", "cancelled")
    got = await partition.claim()
    assert not isinstance(got, Go) or got.id != "a"


@pytest.mark.parametrize("state", ["completed", "failed", "cancelled"])
async def test_a_request_that_is_over_keeps_its_state(partition: Partition, state: str) -> None:
    go = await bring_to(partition, state)
    async with partition.unchanged():
        assert await partition.cancel("a") == ("TERMINAL", state)
        assert await partition.retry(go) == ("FENCED", state)
        assert await partition.release(go) == ("FENCED", state)


async def test_a_request_of_another_tenant_or_none_at_all_is_not_cancelled(
    partition: Partition,
) -> None:
    await partition.submit("a")
    async with partition.unchanged():
        assert await partition.cancel("a", "other") == ("MISSING", "")
        assert await partition.cancel("b") == ("MISSING", "")


@pytest.mark.parametrize("end", ["finish", "cancel", "poison", "interrupted"])
async def test_every_end_lets_go_of_all_the_request_held(partition: Partition, end: str) -> None:
    partition.max_crashes = 1 if end == "poison" else 3
    policy = "fail" if end == "interrupted" else "restart"
    await partition.submit("a", payload="12345", idem="k", conv="c", policy=policy)
    go = await partition.take()
    await partition.append(go, 1, "x")
    match end:
        case "finish":
            await partition.finish(go, 2)
        case "cancel":
            await partition.cancel("a")
        case "poison":
            await partition.end_lease(go)
            await partition.claim(take=False)
        case "interrupted":
            await partition.reopen(go)
    now = await partition.snapshot()
    assert now.hash("load")["count"] == now.hash("load")["bytes"] == "0"
    assert {name for name, _ in now.named("tenant:")} == set()
    assert "active" not in now.hash("conv:c")
    for name, ttl_s in {
        "log:a": RETENTION_S,
        "idem:k": RETENTION_S,
        "index:t": RETENTION_S,
        "conv:c": CONVERSATION_TTL_S,
        "conv:c:turns": CONVERSATION_TTL_S,
    }.items():
        left_s = await partition.client.ttl(f"{TAG}{name}")
        assert ttl_s - 60 < left_s <= ttl_s, name


@pytest.mark.parametrize("how", ["cancel", "replace", "forget"])
async def test_the_owner_is_notified_that_its_request_was_cancelled(
    partition: Partition, how: str
) -> None:
    """Over the channel of the worker that runs it, whose name may hold a colon."""
    await partition.submit("a", conv="talk")
    await partition.take("host:1")
    listening = partition.client.pubsub()
    await listening.ssubscribe(f"{TAG}push:worker:host:1")
    match how:
        case "cancel":
            await partition.cancel("a")
        case "replace":
            await partition.submit("b", conv="talk", on_busy="replace")
        case "forget":
            await partition.forget("talk")
    received = [await listening.get_message(timeout=5) for _ in range(2)]
    assert [message["data"] for message in received if message] == [1, b"a"]
    await listening.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py
