"""A conversation has one active request; the others are held, replace it, or are refused."""

import json

import pytest

from tests.broker.checked_partition import TAG, Go
from tests.broker.partition import CONVERSATION_TTL_S, Partition
from tickertape.broker.codec import encode_data, encode_text


async def states(partition: Partition, *ids: str) -> list[str]:
    return [await partition.state(id_) for id_ in ids]


async def test_a_second_request_is_held_until_the_first_is_over(partition: Partition) -> None:
    for id_ in ("a", "b", "c"):
        await partition.submit(id_, conv="talk")
    assert await states(partition, "a", "b", "c") == ["queued", "held", "held"]
    go = await partition.take()
    assert (go.id, go.conv) == ("a", "talk")
    assert not isinstance(await partition.claim(), Go)
    await partition.finish(go, 1)
    assert await states(partition, "b", "c") == ["queued", "held"]
    assert (await partition.take()).id == "b"


@pytest.mark.parametrize("end", ["finish", "cancel", "poison", "interrupted", "reopen"])
async def test_every_end_of_the_active_request_lets_the_next_one_in(
    partition: Partition, end: str
) -> None:
    partition.max_crashes = 1 if end == "poison" else 3
    policy = "fail" if end in {"interrupted", "reopen"} else "restart"
    await partition.submit("a", conv="talk", policy=policy)
    await partition.submit("b", conv="talk")
    go = await partition.take()
    await partition.append(go, 1, "x")
    match end:
        case "finish":
            await partition.finish(go, 2)
        case "cancel":
            await partition.cancel("a")
        case "poison":
            await partition.end_lease(go)
        case "interrupted":
            await partition.release(go)
        case "reopen":
            await partition.reopen(go)
    assert (await partition.take()).id == "b"
    assert (await partition.snapshot()).hash("conv:talk")["active"] == "b"


async def test_a_retried_or_released_request_stays_the_active_one(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.submit("b", conv="talk")
    await partition.release(await partition.take())
    await partition.retry(await partition.take())
    assert await states(partition, "a", "b") == ["delayed", "held"]


async def test_a_held_request_can_be_cancelled_and_is_skipped(partition: Partition) -> None:
    for id_ in ("a", "b", "c"):
        await partition.submit(id_, conv="talk")
    await partition.cancel("b")
    assert (await partition.snapshot()).hash("conv:talk")["active"] == "a"
    await partition.cancel("a")
    assert (await partition.take()).id == "c"


async def test_a_held_request_that_was_lost_does_not_stop_the_conversation(
    partition: Partition,
) -> None:
    await partition.submit("a", conv="talk")
    go = await partition.take()
    await partition.client.rpush(f"{TAG}conv:talk:wait", "lost")
    await partition.finish(go, 1)
    await partition.submit("b", conv="talk")
    assert (await partition.take()).id == "b"


async def test_a_busy_conversation_refuses_and_keeps_nothing(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    async with partition.unchanged():
        refused = await partition.submit("b", conv="talk", on_busy="reject", idem="k")
        assert refused == ("BUSY", "a")
    await partition.cancel("a")
    assert await partition.submit("b", conv="talk", on_busy="reject") == ("OK", "b")


@pytest.mark.parametrize("active", ["queued", "running", "delayed", "over"])
async def test_a_new_request_replaces_the_active_one_and_all_that_wait(
    partition: Partition, active: str
) -> None:
    await partition.submit("a", conv="talk")
    if active != "queued":
        go = await partition.take()
        if active == "delayed":
            await partition.retry(go)
        elif active == "over":
            await partition.finish(go, 1)
    if active != "over":
        await partition.submit("b", conv="talk")
    assert await partition.submit("c", conv="talk", on_busy="replace") == ("OK", "c")
    if active == "over":
        assert await states(partition, "a", "c") == ["completed", "queued"]
    else:
        assert await states(partition, "a", "b", "c") == ["cancelled", "cancelled", "queued"]
        entry = (await partition.snapshot()).list("log:a")[-1][1]["e"]
        assert entry == 'X{"reason":"replaced"}'
    now = await partition.snapshot()
    assert now.hash("conv:talk")["active"] == "c"
    assert not now.list("conv:talk:wait")
    assert (await partition.take()).id == "c"


async def test_a_repeated_replacement_does_not_replace_itself(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.submit("b", conv="talk", on_busy="replace", idem="k")
    async with partition.unchanged():
        again = await partition.submit("b", conv="talk", on_busy="replace", idem="k")
        assert again == ("EXISTS", "b")
        again = await partition.submit("b", conv="talk", on_busy="replace")
        assert again == ("EXISTS", "b")


async def test_conversations_do_not_disturb_each_other(partition: Partition) -> None:
    await partition.submit("a", conv="one")
    await partition.submit("b", conv="two")
    await partition.submit("c")
    assert await states(partition, "a", "b", "c") == ["queued"] * 3


async def test_a_conversation_ages_only_while_it_is_idle(partition: Partition) -> None:
    async def expires() -> list[bool]:
        now = await partition.snapshot()
        return [now.keys[name].expires for name in ("conv:talk", "conv:talk:turns")]

    await partition.submit("a", conv="talk")
    await partition.submit("b", conv="talk")
    assert await expires() == [False, False]
    await partition.cancel("a")
    assert await expires() == [False, False]
    await partition.cancel("b")
    assert await expires() == [True, True]
    assert 0 < await partition.client.ttl(f"{TAG}conv:talk:turns") <= CONVERSATION_TTL_S
    await partition.submit("c", conv="talk")
    assert await expires() == [False, False]


async def test_what_was_asked_and_answered_is_remembered_in_order(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.submit("b", conv="talk")
    await partition.finish(await partition.take(), 1, answered='"yes"')
    await partition.finish(await partition.take(), 1, state="failed")
    await partition.submit("c", conv="talk", links='{"message_id":"m"}')
    turns = [fields for _, fields in (await partition.snapshot()).list("conv:talk:turns")]
    assert turns == [
        {"id": "a", "asked": '["asked"]', "title": "a title"},
        {"id": "b", "asked": '["asked"]', "title": "a title"},
        {"id": "a", "answered": '"yes"', "status": "completed"},
        {"id": "c", "asked": '["asked"]', "title": "a title", "links": '{"message_id":"m"}'},
    ]


async def answers(partition: Partition) -> list[dict[str, str]]:
    rows = (await partition.snapshot()).list("conv:talk:turns")
    return [fields for _, fields in rows if "answered" in fields]


def ended(text: str, status: str) -> dict[str, str]:
    return {"id": "a", "answered": json.dumps(text), "status": status}


@pytest.mark.parametrize("end", ["cancel", "queued", "dead", "delayed", "replaced"])
async def test_a_stop_in_any_state_remembers_the_text_so_far(
    partition: Partition, end: str
) -> None:
    await partition.submit("a", conv="talk")
    go = await partition.take()
    await partition.append(go, 1, "so ", "far")
    match end:
        case "queued":
            await partition.release(go)
        case "dead":
            await partition.end_lease(go)
        case "delayed":
            await partition.retry(go)
        case "replaced":
            await partition.submit("b", conv="talk", on_busy="replace")
    await partition.cancel("a")
    assert await answers(partition) == [ended("so far", "cancelled")]


@pytest.mark.parametrize("end", ["queued", "held", "running"])
async def test_a_stop_before_the_first_word_is_remembered(partition: Partition, end: str) -> None:
    if end == "held":
        await partition.submit("first", conv="talk")
    await partition.submit("a", conv="talk")
    if end == "running":
        await partition.take()
    await partition.cancel("a")
    assert await answers(partition) == [ended("[stopped]", "cancelled")]


@pytest.mark.parametrize("end", ["finish", "poison", "interrupted", "reopen"])
async def test_every_failure_remembers_the_text_so_far(partition: Partition, end: str) -> None:
    partition.max_crashes = 1 if end == "poison" else 3
    policy = "fail" if end in {"interrupted", "reopen"} else "restart"
    await partition.submit("a", conv="talk", policy=policy)
    await partition.submit("b", conv="talk")
    go = await partition.take()
    await partition.append(go, 1, "half")
    match end:
        case "finish":
            await partition.finish(go, 2, " a word", state="failed")
        case "poison":
            await partition.end_lease(go)
        case "interrupted":
            await partition.release(go)
        case "reopen":
            await partition.reopen(go)
    assert (await partition.take()).id == "b"
    text = "half a word" if end == "finish" else "half"
    assert await answers(partition) == [ended(text, "failed")]


async def test_a_failure_before_the_first_word_is_not_remembered(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.finish(await partition.take(), 1, state="failed")
    assert await answers(partition) == []


@pytest.mark.parametrize("policy", ["restart", "continue"])
async def test_a_stop_remembers_only_the_text_that_readers_see(
    partition: Partition, policy: str
) -> None:
    await partition.submit("a", conv="talk", policy=policy)
    for text in ("one ", "two ", "three"):
        # What a draining worker has handed over is continued under both policies, where it can be.
        go = await partition.take(can_continue=policy == "continue")
        await partition.append(go, 1, text)
        await partition.release(go)
    await partition.cancel("a")
    text = "three" if policy == "restart" else "one two three"
    assert await answers(partition) == [ended(text, "cancelled")]


async def test_a_stop_remembers_text_and_refusals_and_no_other_output(
    partition: Partition,
) -> None:
    await partition.submit("a", conv="talk")
    go = await partition.take()
    values = [
        encode_text("reasoning", "Hm."),
        encode_text("delta", 'é/"\\\n'),
        encode_text("delta", "\u2028🎉", {"logprobs": {"content": [None]}}),
        encode_text("refusal", " No"),
        encode_text("refusal", ".", {"x": 1}),
        encode_data("tool_call", {"index": 0, "arguments": "{"}),
    ]
    await partition.finish(go, 1, state="failed", values=values)
    [row] = await answers(partition)
    assert json.loads(row["answered"]) == 'é/"\\\n\u2028🎉 No.'
    assert row["status"] == "failed"


async def test_without_a_conversation_nothing_is_remembered(partition: Partition) -> None:
    await partition.submit("a")
    await partition.append(await partition.take(), 1, "half")
    await partition.cancel("a")
    assert await partition.field("a", "answered") is None
    assert not [*(await partition.snapshot()).named("conv:")]


async def test_what_was_remembered_of_a_stop_is_erased_with_it(partition: Partition) -> None:
    await partition.submit("a", conv="talk")
    await partition.append(await partition.take(), 1, "half")
    await partition.cancel("a")
    await partition.erase("a")
    [(_, place)] = (await partition.snapshot()).list("conv:talk:turns")
    assert {*place} == {"id", "answered", "erased"}
    assert place["answered"] == '""'


async def test_new_requests_of_a_conversation_are_announced(partition: Partition) -> None:
    listening = partition.client.pubsub()
    await listening.ssubscribe(f"{TAG}push:conv:talk")
    await partition.submit("a", conv="talk")
    await partition.submit("b", conv="talk")
    received = [await listening.get_message(timeout=5) for _ in range(3)]
    assert [message["data"] for message in received if message] == [1, b"a", b"b"]
    await listening.aclose()  # type: ignore[no-untyped-call]  # bare in redis-py
