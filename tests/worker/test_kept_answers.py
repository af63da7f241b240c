"""An answer that its upstream keeps is read on, and not asked for again. On real HTTP."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.keeping_upstream import KeepingUpstream
from tests.support.prompted import Plan, PlanFollower
from tests.support.script import Done, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.leases import Attached
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.errors import Truncated
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.seen import AnswerDiffers
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.answer import TableAnswer
from tickertape.worker.upstreams.kept import KeptAnswer
from tickertape.worker.upstreams.reading import KeyedRow
from tickertape.worker.upstreams.roster import UpstreamTable, build_table
from tickertape.worker.upstreams.table import Row

CUT = Plan(deltas=50, tag="word", cut_after=20)
RESUMES = ("responses", "llama.cpp")


@pytest.fixture(params=RESUMES)
def resume(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def upstream() -> AsyncIterator[KeepingUpstream]:
    async with KeepingUpstream() as running:
        yield running


@pytest.fixture
async def other() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as running:
        yield running


@asynccontextmanager
async def table_of(
    a: ScriptedUpstream, resume: str, *others: dict[str, Any]
) -> AsyncIterator[UpstreamTable]:
    fields = [{"name": "a", "base_url": a.base_url, "resume": resume}, *others]
    rows = [KeyedRow(Row.model_validate(each), "key") for each in fields]
    async with build_table(rows, random.Random(1), model="m") as table:
        yield table


class Reading:
    """An attempt at an answer; `recorded` is what attempts after it would find."""

    def __init__(
        self,
        table: UpstreamTable,
        at: Attached | None = None,
        seen: str = "",
        prompt: str = "hi",
        **params: Any,
    ) -> None:
        self.recorded: list[Attached | None] = []
        self.tally, self.text = Tally(), ""
        for word in seen.split():
            self.tally.add(Piece("delta", f"{word} "))
        body = {"messages": [{"role": "user", "content": prompt}], **params}
        kept = KeptAnswer(at, self.recorded.append)
        self.answer: TableAnswer = table.stream(body, self.tally, Limits(), kept=kept)

    def take(self, pieces: list[Piece]) -> bool:
        self.text += "".join(piece.text for piece in pieces)
        return True

    async def run(self) -> str:
        """The text that is new to readers."""

        async def room() -> None:
            return None

        async with self.answer:
            await self.answer.deliver(self.take, room)
        return self.text


def marked(reading: Reading) -> Attached:
    """The mark of an attempt that has one."""
    [mark] = reading.recorded
    assert mark is not None
    return mark


async def begun(table: UpstreamTable, upstream: KeepingUpstream, text: str) -> Attached:
    """Leave an answer whose upstream waits behind a text, as the death of a worker does."""
    gate = asyncio.Event()
    upstream.script = [Text(text), Wait(gate), *answer(["the ", "rest"])]
    first = Reading(table)
    running = asyncio.create_task(first.run())
    await wait_until(lambda: first.text == text, description="the first text")
    running.cancel()
    await asyncio.wait([running])
    gate.set()
    return marked(first)


async def test_a_lost_connection_is_made_again_and_the_upstream_is_asked_once(
    upstream: KeepingUpstream, resume: str
) -> None:
    upstream.script = PlanFollower(CUT).script_for
    async with table_of(upstream, resume) as table:
        reading = Reading(table, prompt=CUT.prompt())
        assert await reading.run() == reading.tally.text == CUT.text()
        assert reading.tally.finish_reason == "stop"
        assert (reading.tally.usage or {})["completion_tokens"] == 50
        assert table.members[0].outcomes == {"completed": 1}
        assert table.members[0].running == 0
    assert (len(upstream.calls), len(upstream.replays), upstream.ended) == (1, 1, [])


async def test_another_attempt_reads_on_behind_what_readers_have(
    upstream: KeepingUpstream, resume: str
) -> None:
    async with table_of(upstream, resume) as table:
        at = await begun(table, upstream, "the first ")
        assert upstream.ended == []
        second = Reading(table, at, "the first")
        assert await second.run() == "the rest"
        assert (second.tally.text, second.tally.deltas) == ("the first the rest", 3)
    assert len(upstream.calls) == 1


async def test_an_answer_that_is_discarded_ends_at_the_upstream(
    upstream: KeepingUpstream, resume: str
) -> None:
    upstream.script = [Text("half "), Wait(asyncio.Event())]
    async with table_of(upstream, resume) as table:
        reading = Reading(table)
        running = asyncio.create_task(reading.run())
        await wait_until(lambda: reading.text, description="a text")
        running.cancel()
        await asyncio.wait([running])
        reading.answer.discard()
        await wait_until(lambda: upstream.ended, description="the end")
        assert upstream.ended == [marked(reading).id]


async def test_another_text_than_readers_have_is_never_joined_to_it(
    upstream: KeepingUpstream, resume: str
) -> None:
    async with table_of(upstream, resume) as table:
        at = await begun(table, upstream, "the first ")
        second = Reading(table, at, "the other")
        with pytest.raises(AnswerDiffers):
            await second.run()
        assert (second.text, second.tally.has_output) == ("", True)


async def test_an_answer_shorter_than_what_readers_have_is_not_complete(
    upstream: KeepingUpstream, resume: str
) -> None:
    async with table_of(upstream, resume) as table:
        at = await begun(table, upstream, "the first ")
        with pytest.raises(AnswerDiffers):
            await Reading(table, at, "the first the rest and more").run()


async def test_an_answer_that_is_gone_is_asked_for_again_if_no_reader_has_any_of_it(
    upstream: KeepingUpstream, resume: str
) -> None:
    gone = Attached("a", "gone")
    upstream.script = answer(["all ", "anew"])
    async with table_of(upstream, resume) as table:
        assert await Reading(table, gone).run() == "all anew"
        lost = Reading(table, gone, "the first")
        with pytest.raises(Truncated, match="does not have the answer"):
            await lost.run()
    assert len(upstream.calls) == 1


async def test_an_upstream_that_fails_without_output_is_not_the_first_of_a_later_attempt(
    upstream: KeepingUpstream, other: ScriptedUpstream
) -> None:
    upstream.script = [Done()]
    second = {"name": "b", "base_url": other.base_url, "order": 2}
    async with table_of(upstream, "llama.cpp", second) as table:
        reading = Reading(table)
        assert await reading.run() == "Hello, world."
        assert reading.recorded[1:] == [None]
        gone = Reading(table, Attached("a", "gone"))
        assert await gone.run() == "Hello, world."
        assert gone.recorded == [None]


async def test_a_request_that_no_response_can_be_asked_for_goes_the_usual_way(
    upstream: KeepingUpstream,
) -> None:
    upstream.script = [Text("half "), Done()]
    async with table_of(upstream, "responses") as table:
        with pytest.raises(Truncated):
            await Reading(table, stop=["x"]).run()
    assert (upstream.calls[0].path, upstream.kept) == ("/v1/chat/completions", {})
