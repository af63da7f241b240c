"""REOPEN, and what each policy allows when an attempt ends before the answer does."""

import json
from typing import Literal

import pytest

from tests.broker.checked_partition import Go
from tests.broker.partition import Partition

How = Literal["reopen", "crash", "release"]


async def interrupted(partition: Partition, policy: str, *, output: bool) -> Go:
    await partition.submit("a", policy=policy)
    go = await partition.take()
    if output:
        await partition.append(go, 1, "x", "y")
    return go


async def opener_after(
    partition: Partition, go: Go, how: How, *, can_continue: bool, keeps: str = ""
) -> str:
    """How the next attempt began, or "failed" when there is none."""
    match how:
        case "reopen":
            await partition.reopen(go, can_continue=can_continue)
        case "crash":
            await partition.end_lease(go)
            await partition.claim(can_continue=can_continue, keeps=keeps)
        case "release":
            await partition.release(go)
            await partition.claim(can_continue=can_continue, keeps=keeps)
    return (await partition.log("a"))[-1]


@pytest.mark.parametrize("how", ["reopen", "crash", "release"])
@pytest.mark.parametrize(
    ("policy", "can_continue", "opener"),
    [
        ("restart", False, "reset"),
        ("restart", True, "reset"),
        ("continue", True, "resumed"),
        ("continue", False, "failed"),
        ("fail", False, "failed"),
        ("fail", True, "failed"),
    ],
)
async def test_after_output_the_policy_decides(
    partition: Partition, how: How, policy: str, can_continue: bool, opener: str
) -> None:
    go = await interrupted(partition, policy, output=True)
    if (how, policy, can_continue) == ("release", "restart", True):
        opener = "resumed"  # a hand-over is not a break, so nothing is paid twice
    assert await opener_after(partition, go, how, can_continue=can_continue) == opener
    last = json.loads((await partition.snapshot()).list("log:a")[-1][1]["e"][1:])
    if opener == "failed":
        assert (last["code"], last["retryable"]) == ("interrupted", True)
        assert await partition.state("a") == "failed"
    else:
        reasons = {
            "reopen": "upstream_truncated",
            "crash": "worker_lost",
            "release": "worker_drained",
        }
        assert last == {
            "v": 1,
            "prev": f"{go.attempt}-2",
            "n": 2,
            "model": "m",
            "reason": reasons[how],
        }


@pytest.mark.parametrize("how", ["reopen", "crash", "release"])
@pytest.mark.parametrize("policy", ["restart", "continue", "fail"])
async def test_before_any_output_every_policy_starts_over(
    partition: Partition, how: How, policy: str
) -> None:
    go = await interrupted(partition, policy, output=False)
    assert await opener_after(partition, go, how, can_continue=False) == "started"


async def test_output_that_was_kept_counts_in_every_later_attempt(partition: Partition) -> None:
    """A resumed attempt that wrote nothing still stands on the text before it."""
    go = await interrupted(partition, "continue", output=True)
    assert await opener_after(partition, go, "crash", can_continue=True) == "resumed"
    resumed = go._replace(attempt=int(await partition.field("a", "attempt") or 0))
    assert await opener_after(partition, resumed, "crash", can_continue=True) == "resumed"
    resumed = go._replace(attempt=int(await partition.field("a", "attempt") or 0))
    assert await opener_after(partition, resumed, "release", can_continue=False) == "failed"


async def test_output_that_was_thrown_away_does_not_count(partition: Partition) -> None:
    go = await interrupted(partition, "restart", output=True)
    assert await opener_after(partition, go, "crash", can_continue=False) == "reset"
    again = go._replace(attempt=int(await partition.field("a", "attempt") or 0))
    assert await opener_after(partition, again, "release", can_continue=False) == "started"


async def test_what_breaks_off_after_a_hand_over_starts_over(partition: Partition) -> None:
    go = await interrupted(partition, "restart", output=True)
    assert await opener_after(partition, go, "release", can_continue=True) == "resumed"
    resumed = go._replace(attempt=int(await partition.field("a", "attempt") or 0))
    assert await opener_after(partition, resumed, "crash", can_continue=True) == "reset"


async def test_reopen_answers_like_a_claim(partition: Partition) -> None:
    go = await interrupted(partition, "restart", output=True)
    word, attempt, n, opener, prev = await partition.reopen(go)
    assert (word, n, opener, prev) == ("GO", "2", "reset", f"{go.attempt}-2")
    assert int(attempt) > go.attempt
    assert await partition.append(go, 3, "z") == ("FENCED", "running")


async def test_a_repeated_reopen_opens_nothing_more(partition: Partition) -> None:
    go = await interrupted(partition, "restart", output=True)
    first = await partition.reopen(go, "n")
    async with partition.unchanged():
        assert await partition.reopen(go, "n") == first
        assert await partition.reopen(go, "another") == ("FENCED", "running")


async def test_a_repeated_reopen_that_was_forbidden_says_so_again(partition: Partition) -> None:
    go = await interrupted(partition, "fail", output=True)
    assert await partition.reopen(go) == ("INTERRUPTED", "")
    async with partition.unchanged():
        assert await partition.reopen(go) == ("INTERRUPTED", "")


async def test_what_is_over_or_gone_is_not_opened_again(partition: Partition) -> None:
    go = await interrupted(partition, "restart", output=True)
    await partition.finish(go, 3)
    async with partition.unchanged():
        assert await partition.reopen(go) == ("FENCED", "completed")
    await partition.erase("a")
    async with partition.unchanged():
        assert await partition.reopen(go) == ("FENCED", "missing")


async def test_a_reason_is_written_as_it_was_given(partition: Partition) -> None:
    """A quote in the reason must not make the log unreadable."""
    reason = 'it said "no"\\ \n é'
    go = await interrupted(partition, "restart", output=True)
    await partition.reopen(go, reason=reason)
    last = json.loads((await partition.snapshot()).list("log:a")[-1][1]["e"][1:])
    assert last["reason"] == reason
