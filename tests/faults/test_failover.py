"""Redis fails over to a replica that lacks the last acknowledged writes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.followers import Follower, following
from tests.support.pair import Pair, server_pair
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Script, Text, Wait
from tests.support.sse import Event, collect, text_of
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with server_pair() as running:
        yield running


@asynccontextmanager
async def system(pair: Pair, upstream: ScriptedUpstream) -> AsyncIterator[RunningApi]:
    given: dict[str, Any] = {
        "openai_base_url": upstream.base_url,
        "lease_s": 1.0,
        "heartbeat_s": 0.3,
    }
    async with (
        running_api(pair.url, **given) as api,
        working(pair.url, Settings.model_validate(given)),
    ):
        yield api


def in_two_parts(gates: list[asyncio.Event]) -> Script:
    return [Role(), Text("a"), Wait(gates[0]), Text("b"), Text("c"), Wait(gates[1]), Finish()]


async def read_what_the_replica_has_not(
    pair: Pair, request_id: str, reader: Follower, gate: asyncio.Event
) -> None:
    """The first word reaches both servers and the reader; later words reach only the primary."""
    await reader.shows("a")
    await pair.has(request_id, 3)
    await pair.cut_link()
    gate.set()
    await reader.shows("abc")


async def test_after_a_fail_over_lost_entries_the_answer_starts_over_and_no_id_is_used_twice(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    upstream.enqueue(in_two_parts(gates))
    upstream.script = [Role(), Text("another "), Text("answer"), Finish()]
    async with system(pair, upstream) as api:
        request_id = await api.submit()
        async with following(api.stream_url(request_id)) as reader:
            await read_what_the_replica_has_not(pair, request_id, reader, gates[0])
            lost = {event.cursor: event.data for event in reader.events[3:]}
            await pair.fail_over()
            gates[1].set()
            await reader.ends(timeout_s=15)
        log = await collect(api.stream_url(request_id))
        record = await api.read(request_id)
    assert reader.text == text_of(log) == record["text"] == "another answer"
    assert len(lost) == 2
    for event in log:
        assert event.cursor not in lost
    # The reader started over, and then got every entry of the current log.
    begin = max(n for n, event in enumerate(reader.events) if event.kind in {"rewind", "reset"})
    kinds = [event.kind for event in reader.events[begin:]]
    assert kinds[-3:] == ["delta", "delta", "completed"]


async def test_a_cursor_that_a_fail_over_lost_starts_over(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    upstream.script = in_two_parts(gates)
    async with system(pair, upstream) as api:
        request_id = await api.submit()
        async with following(api.stream_url(request_id)) as reader:
            await read_what_the_replica_has_not(pair, request_id, reader, gates[0])
            cursor = reader.last_cursor
            await pair.fail_over()
            gates[1].set()
            await reader.ends(timeout_s=15)
        assert cursor
        again = await collect(api.stream_url(request_id), {"Last-Event-ID": cursor})
    assert again[0].kind == "rewind"
    assert text_of(again) == reader.text == "abc"


async def test_a_request_that_a_fail_over_lost_is_not_found_and_can_be_submitted_again(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    headers = {"Idempotency-Key": "k"}
    async with system(pair, upstream) as api:
        first = await api.submit()
        await pair.has(first, 4)  # queued, started, the text and the end
        await pair.cut_link()
        answered = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
        lost = answered.json()["request_id"]
        await pair.fail_over()

        async def is_missed() -> bool:
            return (await api.client.get(f"/chat/{lost}")).status_code == 404

        await wait_until(is_missed, description="the request to be missed")

        async def is_accepted() -> bool:
            answered = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
            return answered.status_code == 202

        await wait_until(is_accepted, description="the same to be accepted again")
        assert (await api.read(first))["status"] == "completed"


def since_rewind(reader: Follower) -> list[Event]:
    """The events behind the last `rewind`; none if there was none."""
    begun = [n for n, event in enumerate(reader.events) if event.kind == "rewind"]
    return reader.events[begun[-1] :] if begun else []


def texts(events: list[Event]) -> list[str]:
    """The deltas since the conversation started over for the last time."""
    begun = [n for n, e in enumerate(events) if e.kind == "rewind" and "request_id" not in e.data]
    return [e.data["text"] for e in events[begun[-1] if begun else 0 :] if e.kind == "delta"]


async def test_an_end_that_a_fail_over_lost_is_taken_back_from_a_conversation(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.enqueue([Role(), Text("a"), Wait(gate), Text("b"), Finish()])
    upstream.script = [Role(), Text("another "), Text("answer"), Finish()]
    async with system(pair, upstream) as api:
        request_id = await api.submit(conversation_id="c1")
        async with following(f"{api.url}/conversations/c1/stream") as reader:
            await reader.shows("a")
            await pair.has(request_id, 3)
            await pair.cut_link()
            gate.set()
            await reader.completes()
            # The process keeps a finished log, and must not replay this one.
            assert text_of(await collect(api.stream_url(request_id))) == "ab"
            await pair.fail_over()
            await wait_until(
                lambda: text_of(since_rewind(reader)) == "another answer",
                description="the follower to start over",
            )
        log = await collect(api.stream_url(request_id))
    assert text_of(log) == "another answer"


async def test_a_cancel_that_a_fail_over_lost_is_taken_back_while_the_next_turn_is_read(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    """A follower that leaves before that turn ends would keep the cancel."""
    never = asyncio.Event()
    scripts: list[Script] = [
        [Role(), Text("half"), Wait(never)],
        [Role(), Text("whole"), Finish()],
    ]
    first = iter(scripts)

    def script(call: Call) -> Script:
        is_second = call.body["messages"][-1]["content"] == "second"
        return [Role(), Text("next"), Wait(never)] if is_second else next(first)

    upstream.script = script
    async with system(pair, upstream) as api:
        cancelled = await api.submit("first", conversation_id="c1")
        async with following(f"{api.url}/conversations/c1/stream") as reader:
            await reader.shows("half")
            second = await api.submit("second", conversation_id="c1")
            await pair.has(cancelled, 3)
            await pair.has(second, 1)
            await pair.cut_link()
            assert await api.cancel(cancelled) == "cancelled"
            await wait_until(
                lambda: texts(reader.events) == ["half", "next"], description="the second turn"
            )
            await pair.fail_over()
            await wait_until(
                lambda: texts(reader.events) == ["half", "whole", "next"],
                timeout_s=15,
                description="the follower to start over in the middle of the second turn",
            )


async def test_a_turn_that_a_fail_over_lost_is_taken_back_from_a_conversation(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Role(), Text("a"), Finish()]
    async with system(pair, upstream) as api:
        kept = await api.submit(conversation_id="c1")
        async with following(f"{api.url}/conversations/c1/stream") as reader:
            await reader.completes()
            await pair.has(kept, 4)
            await pair.cut_link()
            await api.submit(conversation_id="c1")
            await wait_until(lambda: len(reader.terminals) == 2, description="the second turn")
            await pair.fail_over()
            await wait_until(
                lambda: [e.kind for e in since_rewind(reader)][-1:] == ["completed"],
                description="the follower to start over",
            )
        assert {e.data["request_id"] for e in since_rewind(reader)[1:]} == {kept}


async def test_a_cancel_after_lost_entries_reuses_no_id_and_ends_every_reader(
    pair: Pair, upstream: ScriptedUpstream
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    upstream.enqueue([Role(), Text("a"), Wait(gates[0]), Text("b"), Wait(gates[1]), Finish()])
    async with system(pair, upstream) as api:
        request_id = await api.submit()
        async with following(api.stream_url(request_id)) as reader:
            await reader.shows("a")
            await pair.has(request_id, 3)
            await pair.cut_link()
            gates[0].set()
            await reader.shows("ab")
            lost = {event.cursor for event in reader.events[3:]}
            await pair.fail_over()

            async def is_cancelled() -> bool:
                return (await api.client.post(f"/chat/{request_id}/cancel")).status_code == 200

            await wait_until(is_cancelled, description="the cancel")
            await reader.ends(timeout_s=15)
        log = await collect(api.stream_url(request_id))
        again = await collect(api.stream_url(request_id), {"Last-Event-ID": str(*lost)})
    assert reader.kinds[-1] == "cancelled"
    assert not lost & {event.cursor for event in log}
    assert [again[0].kind, again[-1].kind] == ["rewind", "cancelled"]
