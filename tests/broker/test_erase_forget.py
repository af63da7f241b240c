"""ERASE and FORGET: nothing of what was said stays behind, and nothing else is touched."""

import pytest

from tests.broker.checked_partition import TAG
from tests.broker.partition import Partition


async def names(partition: Partition) -> set[str]:
    bounded = {"load", "wake", "idle", "uncompacted", "erasures"}
    return {
        name
        for name in (await partition.snapshot()).keys
        if name not in bounded and not name.startswith("claim:")
    }


async def test_an_erased_request_leaves_nothing_behind(partition: Partition) -> None:
    await partition.submit("a", idem="k")
    go = await partition.take()
    await partition.finish(go, 1, "secret")
    assert await partition.erase("a") == ("OK", "")
    assert await names(partition) == set()
    async with partition.unchanged():
        assert await partition.erase("a") == ("MISSING", "")


async def test_what_an_erased_request_said_leaves_its_conversation(partition: Partition) -> None:
    for id_ in ("a", "b"):
        await partition.submit(id_, conv="talk")
        await partition.finish(await partition.take(), 1, answered='"yes"')
    await partition.erase("a")
    turns = (await partition.snapshot()).list("conv:talk:turns")
    assert [fields["id"] for _, fields in turns if "asked" in fields] == ["b"]
    [place] = [fields for _, fields in turns if fields["id"] == "a"]
    assert {*place} == {"id", "answered", "erased"}
    assert place["answered"] == '""'


@pytest.mark.parametrize("state", ["queued", "running", "delayed"])
async def test_a_request_that_is_not_over_is_not_erased(partition: Partition, state: str) -> None:
    await partition.submit("a")
    if state != "queued":
        go = await partition.take()
        if state == "delayed":
            await partition.retry(go)
    async with partition.unchanged():
        assert await partition.erase("a") == ("ACTIVE", state)


async def test_requests_and_conversations_of_another_tenant_are_not_erased(
    partition: Partition,
) -> None:
    await partition.submit("a")
    await partition.cancel("a")
    async with partition.unchanged():
        assert await partition.erase("a", "other") == ("MISSING", "")
        assert await partition.forget("talk") == ("MISSING", "")


@pytest.mark.parametrize("how", ["erase", "forget"])
async def test_an_idempotency_key_that_was_used_again_stays(partition: Partition, how: str) -> None:
    """A poison request is kept for longer than its key, which may name another request by then."""
    await partition.submit("a", idem="k", conv="talk")
    await partition.cancel("a")
    await partition.client.delete(f"{TAG}idem:k")
    await partition.submit("b", "u", idem="k")
    if how == "erase":
        await partition.erase("a")
    else:
        await partition.forget("talk")
    assert await partition.submit("c", "u", idem="k") == ("EXISTS", "b")


async def test_a_forgotten_conversation_leaves_nothing_behind(partition: Partition) -> None:
    await partition.submit("a", conv="talk", idem="k")
    await partition.finish(await partition.take(), 1, "secret", answered='"secret"')
    assert await partition.forget("talk") == ("OK", 1)
    assert await names(partition) == set()
    async with partition.unchanged():
        assert await partition.forget("talk") == ("MISSING", "")


async def test_forgetting_ends_active_and_held_requests(partition: Partition) -> None:
    for id_ in ("a", "b", "c"):
        await partition.submit(id_, conv="talk")
    go = await partition.take()
    assert await partition.forget("talk") == ("OK", 3)
    assert await names(partition) == set()
    assert await partition.append(go, 1, "x") == ("FENCED", "missing")
    assert (await partition.snapshot()).hash("load")["count"] == "0"


async def test_forgetting_one_conversation_leaves_the_rest(partition: Partition) -> None:
    await partition.submit("a", conv="one", idem="k")
    await partition.submit("b", conv="two", idem="l")
    await partition.submit("c", "other")
    await partition.forget("one")
    assert [await partition.state(id_) for id_ in ("a", "b", "c")] == [
        "missing",
        "queued",
        "queued",
    ]
    assert [(await partition.take()).id for _ in range(2)] == ["b", "c"]


async def test_readers_are_notified_that_a_log_is_gone(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.cancel("a")
    await partition.submit("b", conv="talk")
    listening = partition.client.pubsub()
    for name in ("a", "b", "conv:talk"):
        await listening.ssubscribe(f"{TAG}push:{name}")
        await listening.get_message(timeout=5)
    await partition.erase("a")
    await partition.forget("talk")
    received = []
    while (message := await listening.get_message(timeout=5)) is not None:
        received.append((message["channel"].decode().removeprefix(f"{TAG}push:"), message["data"]))
        if received.count(("conv:talk", b"")) == 2:  # of the erased turn, and of the whole
            break
    assert ("a", b"~gone\n{}") in received
    assert ("b", b"~gone\n{}") in received
    assert received[-1] == ("conv:talk", b"")
    await listening.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py
