"""A call that fails before output goes to the next upstream, on real HTTP and without Redis."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog.testing

from tests.support.script import (
    Chunk,
    Cut,
    Done,
    Error,
    Finish,
    Headers,
    Pause,
    Raw,
    Reset,
    Role,
    Script,
    Status,
    Text,
    Usage,
    Wait,
    answer,
    error_body,
    rate_limited,
)
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.errors import (
    AtOwnLimit,
    DeadlineExceeded,
    Rejected,
    Truncated,
    UpstreamError,
)
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.breaker import BreakerTiming, State
from tickertape.worker.upstreams.reading import KeyedRow
from tickertape.worker.upstreams.room import Place, Turnstile
from tickertape.worker.upstreams.roster import UpstreamTable, build_table
from tickertape.worker.upstreams.table import Row

WHOLE = answer(["the ", "whole ", "answer"])
BODY = {"messages": [{"role": "user", "content": "why?"}], "model": "m"}
QUICK = Limits(first_byte_s=0.2, stall_s=0.2, deadline_s=5)
TIMING = BreakerTiming(failures=2, first_open_s=60)


@asynccontextmanager
async def table_of(
    *upstreams: ScriptedUpstream,
    clock: Callable[[], float] = time.monotonic,
    turnstile: Turnstile | None = None,
    **fields: dict[str, Any],
) -> AsyncIterator[UpstreamTable]:
    """A table of these, called a, b and so on, in this order; `fields` adds to their rows."""
    rows = []
    for order, (name, upstream) in enumerate(zip("abc", upstreams, strict=False)):
        row = {"name": name, "base_url": upstream.base_url, "order": order}
        rows.append(KeyedRow(Row.model_validate(row | fields.get(name, {})), f"key-of-{name}"))
    async with build_table(
        rows, random.Random(1), timing=TIMING, clock=clock, turnstile=turnstile
    ) as table:
        yield table


@pytest.fixture
async def a(upstream: ScriptedUpstream) -> ScriptedUpstream:
    return upstream


@pytest.fixture
async def b() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as second:
        second.script = WHOLE
        yield second


async def ask(
    table: UpstreamTable, tally: Tally | None = None, limits: Limits | None = None, **body: Any
) -> tuple[str | None, str]:
    """The name of the upstream that answered, and the text."""
    counted = Tally() if tally is None else tally

    async def room() -> None:
        return None

    usual = Limits(first_byte_s=9, deadline_s=19)
    stream = table.stream({**BODY, **body}, counted, limits or usual, request_id="r")
    async with stream as answered:
        await answered.deliver(lambda _: True, room)
    return stream.answered_by, counted.text


FAILURES: dict[str, Script] = {
    "rate limit": rate_limited("30"),
    "fault": [Status(503, {}, error_body("Overloaded", None))],
    "wrong key": [Status(401, {}, error_body("Incorrect API key", "invalid_api_key"))],
    "no credit": [Status(402, {}, error_body("Pay", "insufficient_quota"))],
    "model missing": [Status(404, {}, error_body("no such model", "model_not_found"))],
    "redirect": [Status(307, {"location": "http://127.0.0.1:1/v1"}, "")],
    "reset": [Reset()],
    "cut": [Headers(), Cut()],
    "cut after a role": [Role(), Cut()],
    "error in the stream": [Role(), Error()],
    "an end without an answer": [Role(), Done()],
    "garbage": [Raw(b"data: {not json\n\n"), Done()],
    "an odd chunk": [Chunk({"choices": "none"}), Done()],
    "silence": [Headers(), Wait(asyncio.Event())],
    "usage, and then a cut": [Role(), Finish("length"), Usage(7, 5), Error()],
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_failure_before_output_goes_to_the_next_upstream(
    failure: str, a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script = FAILURES[failure]
    tally = Tally()
    async with table_of(a, b) as table:
        limits = QUICK if failure == "silence" else None
        assert await ask(table, tally, limits) == ("b", "the whole answer")
    assert tally.usage is not None
    assert tally.usage["completion_tokens"] == 5
    assert tally.finish_reason == "stop"


async def test_a_request_that_is_wrong_in_itself_is_not_sent_to_another(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script = [Status(400, {}, error_body("temperature is too high", "invalid_value"))]
    async with table_of(a, b) as table:
        with pytest.raises(Rejected, match="temperature"):
            await ask(table)
    assert not b.calls


async def test_a_failure_after_output_ends_the_attempt(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script = [Role(), Text("half"), Cut()]
    async with table_of(a, b) as table:
        with pytest.raises(Truncated):
            await ask(table)
    assert not b.calls


async def test_if_all_fail_the_request_waits_as_long_as_the_soonest_asks(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script, b.script = rate_limited("30"), rate_limited("3")
    async with table_of(a, b) as table:
        with pytest.raises(UpstreamError) as failed:
            await ask(table)
    assert failed.value.retry_after_s == 3


async def test_a_refused_key_does_not_end_a_request_that_another_upstream_may_answer_later(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script, b.script = [Status(503)], [Status(401)]
    async with table_of(a, b) as table:
        with pytest.raises(UpstreamError, match="503"):
            await ask(table)


async def test_a_refusal_names_its_row_in_the_log_and_not_to_the_tenant(
    a: ScriptedUpstream,
) -> None:
    a.accept_keys("another")
    async with table_of(a) as table:
        with structlog.testing.capture_logs() as logged, pytest.raises(Rejected) as refused:
            await ask(table)
        assert "has to correct the key of the upstream and restart" in refused.value.message
        assert not {"'a'", "key-of-a", a.base_url} & {*refused.value.message.split()}
        (failed,) = [each for each in logged if each["event"] == "upstream failed"]
        assert (failed["upstream"], failed["reason"]) == ("a", refused.value.message)
        a.accept_keys("key-of-a")
        a.script = WHOLE
        assert (await ask(table))[0] == "a"
        assert table.problem is None


async def test_the_deadline_is_that_of_all_calls_together(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script = [Headers(), Pause(0.1), Cut()]
    b.script = [Headers(), Wait(asyncio.Event())]
    async with table_of(a, b) as table:
        with pytest.raises(DeadlineExceeded):
            await ask(table, limits=Limits(first_byte_s=9, deadline_s=0.2))


async def test_a_model_goes_to_the_upstreams_that_have_it_under_their_own_name(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    of_b = {"aliases": {"fast": "small-2026"}, "models": ["x"]}
    async with table_of(a, b, a={"models": ["large"]}, b=of_b) as table:
        assert (await ask(table, model="fast"))[0] == "b"
        assert (await ask(table, model="large"))[0] == "a"
        with pytest.raises(Rejected, match="not served here"):
            await ask(table, model="other")
        listed = [each["id"] for each in await table.list_models()]
    assert b.calls[0].model == "small-2026"
    assert listed == ["large", "x", "fast"]


async def test_an_upstream_without_models_in_its_row_serves_those_that_it_lists(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.models, b.models = ["large"], ["small"]
    async with table_of(a, b) as table:
        await table.list_models()
        assert (await ask(table, model="small"))[0] == "b"
    assert not a.calls


async def test_the_list_has_what_the_row_names_even_while_that_upstream_is_away(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.models_status = 503
    async with table_of(a, b, a={"models": ["large"]}) as table:
        assert [each["id"] for each in await table.list_models()] == ["large", *b.models]
        assert table.problem == ("Upstreams of the table that cannot be used: a. The log says why.")
        b.models_status = 500
        with pytest.raises(UpstreamError):
            await table.list_models()


async def test_each_upstream_gets_its_own_key(a: ScriptedUpstream, b: ScriptedUpstream) -> None:
    a.accept_keys("another")
    b.accept_keys("key-of-b")
    async with table_of(a, b) as table:
        assert (await ask(table))[0] == "b"


async def test_a_breaker_keeps_requests_away_and_one_of_them_finds_out_when_it_is_over(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    now_s = 100.0
    a.script = [Status(503)]
    async with table_of(a, b, clock=lambda: now_s) as table:
        first, _ = table.members
        for _ in range(4):
            assert (await ask(table))[0] == "b"
        assert (len(a.calls), first.breaker.state) == (2, State.OPEN)
        a.script = WHOLE
        now_s += 60
        assert first.breaker.admits
        assert (await ask(table))[0] == "a"
        assert first.breaker.state is State.CLOSED
        assert first.outcomes == {"upstream_error": 2, "completed": 1}


async def test_a_breaker_closes_at_the_first_output_of_a_long_answer(a: ScriptedUpstream) -> None:
    now_s = 100.0
    a.script = [Status(503)]
    async with table_of(a, clock=lambda: now_s) as table:
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await ask(table)
        now_s += 60
        gate = asyncio.Event()
        a.script = [Role(), Text("long "), Wait(gate), Text("answer"), Finish()]
        answering = asyncio.create_task(ask(table, limits=Limits()))
        while table.members[0].breaker.state is not State.CLOSED:
            await asyncio.sleep(0)
        assert table.members[0].running == 1
        gate.set()
        assert await answering == ("a", "long answer")


async def test_if_all_breakers_are_open_the_request_is_tried_all_the_same(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    a.script = b.script = [Status(503)]
    async with table_of(a, b) as table:
        for _ in range(3):
            with pytest.raises(UpstreamError):
                await ask(table)
        a.script = b.script = WHOLE
        assert (await ask(table))[1] == "the whole answer"


async def test_calls_beyond_the_concurrency_of_an_upstream_go_to_the_next(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    a.script = [Role(), Wait(gate), Text("late"), Finish()]
    async with table_of(a, b, a={"concurrency": 1}) as table:
        limits = Limits()
        first = asyncio.create_task(ask(table, limits=limits))
        while not a.calls:
            await asyncio.sleep(0)
        assert (await ask(table))[0] == "b"
        gate.set()
        assert await first == ("a", "late")


async def test_a_call_waits_for_room_and_then_for_the_queue(a: ScriptedUpstream) -> None:
    gate = asyncio.Event()
    a.script = [Role(), Wait(gate), Text("late"), Finish()]
    async with table_of(a, a={"concurrency": 1}) as table:
        calls = [asyncio.create_task(ask(table, limits=Limits())) for _ in range(2)]
        while not a.calls:
            await asyncio.sleep(0)
        gate.set()
        assert await asyncio.gather(*calls) == [("a", "late")] * 2
        gate.clear()
        table.patience_s = 0.0
        held = asyncio.create_task(ask(table, limits=Limits()))
        while len(a.calls) < 3:
            await asyncio.sleep(0)
        with pytest.raises(AtOwnLimit) as limited:
            await ask(table)
        assert not limited.value.counts
        gate.set()
        await held


class Ledger:
    """Lets every call in, and keeps what each has reserved and used."""

    def __init__(self) -> None:
        self.reserved: list[int] = []
        self.used: list[int] = []

    async def enter(self, row: Row, tokens: int) -> Place | float:
        assert row.is_limited
        self.reserved.append(tokens)
        return self

    async def settle(self, tokens: int) -> None:
        self.used.append(tokens)


async def test_a_call_reserves_its_prompt_and_an_answer_and_settles_what_was_reported(
    a: ScriptedUpstream, b: ScriptedUpstream
) -> None:
    ledger, limit = Ledger(), {"tokens_per_minute": 10**6}
    picture = {"type": "image_url", "image_url": {"url": "data:," + "x" * 10**6}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "x" * 300}, picture]}]
    a.script = [Status(503)]
    async with table_of(a, b, turnstile=ledger, a=limit, b=limit) as table:
        await ask(table, messages=messages)
        while len(ledger.used) < 2:
            await asyncio.sleep(0)
    assert all(1600 + 512 < reserved < 1750 + 512 for reserved in ledger.reserved)
    assert ledger.used == [0, 7 + 5]


async def test_a_cancelled_call_gives_its_room_back(a: ScriptedUpstream) -> None:
    a.script = [Role(), Wait(asyncio.Event())]
    async with table_of(a, a={"concurrency": 1}) as table:
        held = asyncio.create_task(ask(table, limits=Limits()))
        while not a.calls:
            await asyncio.sleep(0)
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)
        assert (table.members[0].running, table.members[0].outcomes) == (0, {"stopped": 1})
        a.script = WHOLE
        assert (await ask(table))[0] == "a"
