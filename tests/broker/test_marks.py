"""MARK: what a function's attempt records for the attempts after it."""

import json

import pytest

from tests.broker.checked_partition import Go
from tests.broker.partition import Partition
from tests.broker.test_reopen import How, opener_after

pytestmark = pytest.mark.parametrize("how", ["reopen", "crash", "release"])

KEPT = '{"upstream":"a","id":"1"}'


def by_policy(policy: str, *, can_continue: bool) -> str:
    """The opener after output."""
    continued = "resumed" if can_continue else "failed"
    return {"restart": "reset", "continue": continued, "fail": "failed"}[policy]


async def begun(partition: Partition, policy: str = "restart", *texts: str) -> Go:
    await partition.submit("a", policy=policy)
    go = await partition.take()
    if texts:
        await partition.append(go, 1, *texts)
    return go


@pytest.mark.parametrize("texts", [(), ("x",)])
async def test_an_attempt_that_may_not_run_twice_is_not_followed_by_another(
    partition: Partition, how: How, texts: tuple[str, ...]
) -> None:
    go = await begun(partition, "restart", *texts)
    assert await partition.mark(go, "fail") == ("OK", "")
    assert await opener_after(partition, go, how, can_continue=True) == "failed"
    last = json.loads((await partition.snapshot()).list("log:a")[-1][1]["e"][1:])
    assert (last["code"], await partition.state("a")) == ("interrupted", "failed")


@pytest.mark.parametrize("policy", ["restart", "continue"])
async def test_a_log_that_ends_with_its_checkpoint_is_resumed_however_often(
    partition: Partition, how: How, policy: str
) -> None:
    go = await begun(partition, policy, "x", "y")
    await partition.mark(go, policy, 2, "[1]")
    assert await opener_after(partition, go, how, can_continue=False) == "resumed"
    attempt = await partition.field("a", "attempt")
    assert await partition.field("a", "checkpoint_at") == f"{attempt}-0"
    again = Go("a", int(attempt or 0), 2, "", "", "", 0, 0, "", "t")
    assert await partition.reopen(again, "another")
    assert await partition.log("a") == ["queued", "started", "'x'", "'y'", "resumed", "resumed"]


@pytest.mark.parametrize(("policy", "opener"), [("restart", "reset"), ("continue", "failed")])
async def test_output_behind_the_checkpoint_is_taken_back_or_fails_the_request(
    partition: Partition, how: How, policy: str, opener: str
) -> None:
    go = await begun(partition, policy, "x", "y")
    await partition.mark(go, policy, 1, "[1]")
    assert await opener_after(partition, go, how, can_continue=False) == opener
    assert await partition.field("a", "checkpoint") == ("[1]" if opener == "reset" else None)


async def test_a_checkpoint_before_any_output_starts_without_a_reset(
    partition: Partition, how: How
) -> None:
    go = await begun(partition)
    await partition.mark(go, "restart", 0, "[1]")
    assert await opener_after(partition, go, how, can_continue=False) == "started"
    attempt = await partition.field("a", "attempt")
    assert await partition.field("a", "checkpoint_at") == f"{attempt}-0"


@pytest.mark.parametrize("policy", ["restart", "continue", "fail"])
@pytest.mark.parametrize("can_continue", [False, True])
async def test_an_answer_that_its_upstream_keeps_is_read_on_by_a_worker_that_has_this_upstream(
    partition: Partition, how: How, policy: str, *, can_continue: bool
) -> None:
    go = await begun(partition, policy, "x")
    assert await partition.mark(go, "", attached=KEPT) == ("OK", "")
    # A worker that reopens an attempt has seen the end of the answer.
    opener = by_policy(policy, can_continue=can_continue) if how == "reopen" else "resumed"
    found = await opener_after(partition, go, how, can_continue=can_continue, keeps="b.1 a c")
    assert found == opener
    is_kept = await partition.field("a", "attached") is not None
    assert is_kept == (how != "reopen")
    assert await partition.field("a", "policy") == policy


@pytest.mark.parametrize("policy", ["restart", "continue", "fail"])
@pytest.mark.parametrize("can_continue", [False, True])
async def test_without_this_upstream_the_policy_decides_and_nobody_reads_the_answer_later(
    partition: Partition, how: How, policy: str, *, can_continue: bool
) -> None:
    go = await begun(partition, policy, "x")
    await partition.mark(go, "", attached=KEPT)
    is_handed_over = how == "release" and policy == "restart"
    opener = by_policy("continue" if is_handed_over else policy, can_continue=can_continue)
    if is_handed_over and not can_continue:
        opener = "reset"
    found = await opener_after(partition, go, how, can_continue=can_continue, keeps="b aa")
    assert found == opener
    assert await partition.field("a", "attached") is None


async def test_an_answer_without_output_is_read_by_a_worker_that_has_its_upstream(
    partition: Partition, how: How
) -> None:
    go = await begun(partition, "fail")
    await partition.mark(go, "", attached=KEPT)
    assert await opener_after(partition, go, how, can_continue=False, keeps="a") == "started"
    is_kept = await partition.field("a", "attached") is not None
    assert is_kept == (how != "reopen")


async def test_an_attempt_whose_answer_is_kept_no_more_deletes_the_mark(
    partition: Partition, how: How
) -> None:
    go = await begun(partition, "restart", "x")
    await partition.mark(go, "", attached=KEPT)
    assert await partition.mark(go, "", attached="null") == ("OK", "")
    assert await partition.field("a", "attached") is None
    assert await opener_after(partition, go, how, can_continue=False, keeps="a") == "reset"


async def test_a_mark_that_nobody_can_read_stops_no_claim(partition: Partition, how: How) -> None:
    go = await begun(partition, "restart", "x")
    await partition.mark(go, "", attached="{")
    assert await opener_after(partition, go, how, can_continue=False, keeps="a") == "reset"


async def test_an_attempt_that_is_over_marks_nothing(partition: Partition, how: How) -> None:
    go = await begun(partition, "restart", "x")
    await opener_after(partition, go, how, can_continue=False)
    async with partition.unchanged():
        assert await partition.mark(go, "fail", 1, "[1]") == ("FENCED", "running")


async def test_a_checkpoint_behind_entries_that_a_fail_over_lost_is_refused(
    partition: Partition, how: How
) -> None:
    """Otherwise the next attempt would get a state, and less output than belongs to that state."""
    go = await begun(partition, "restart", "x")
    await partition.mark(go, "restart", 1, "[1]")
    async with partition.unchanged():
        assert await partition.mark(go, "restart", 2, "[2]") == ("GAP", 1)
    assert await opener_after(partition, go, how, can_continue=False) == "resumed"
    assert await partition.field("a", "checkpoint") == "[1]"


async def test_the_end_of_a_request_deletes_its_checkpoint(partition: Partition, how: How) -> None:
    del how
    go = await begun(partition, "restart", "x")
    await partition.mark(go, "restart", 1, "[1]")
    await partition.finish(go, 2)
    assert await partition.field("a", "checkpoint") is None
    assert await partition.mark(go, "fail") == ("FENCED", "completed")
