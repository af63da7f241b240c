"""The limits on an upstream's silences and on a whole attempt, over real HTTP."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from tests.support.clock import JumpingLoop
from tests.support.reading import PATIENT, Reading, read
from tests.support.script import (
    Comment,
    Done,
    Finish,
    Headers,
    Pause,
    Reasoning,
    Role,
    Script,
    Step,
    Text,
    answer,
)
from tests.support.scripted import ScriptedBody
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.errors import DeadlineExceeded, Stalled
from tickertape.worker.upstream.tally import Tally

FOREVER = Pause(3600)  # until the client leaves


async def outcome(*script: Step, limits: Limits = PATIENT) -> Reading:
    return await read(script, limits)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([FOREVER], id="no head"),
        pytest.param([Headers(), FOREVER], id="no body"),
        pytest.param([Role(), FOREVER], id="no output"),
    ],
)
async def test_an_upstream_that_never_begins_is_stalled(script: Script) -> None:
    limits = Limits(first_byte_s=0.1, stall_s=30, deadline_s=30)
    found = await outcome(*script, limits=limits)
    assert type(found.error) is Stalled
    assert found.error.message == "The upstream was silent for 0.1 s."


async def test_an_upstream_that_falls_silent_after_output_is_stalled() -> None:
    limits = Limits(first_byte_s=30, stall_s=0.1, deadline_s=30)
    found = await outcome(Text("half"), FOREVER, limits=limits)
    assert (found.text, type(found.error)) == ("half", Stalled)


async def test_comments_end_a_silence() -> None:
    # Each pause is well within the limit, all together are beyond it.
    kept_alive: Script = [Comment(), Pause(0.06)] * 20
    limits = Limits(first_byte_s=30, stall_s=1, deadline_s=30)
    found = await outcome(Text("a"), *kept_alive, *answer("b"), limits=limits)
    assert (found.text, found.error) == ("ab", None)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param([FOREVER], id="before the head"),
        pytest.param([Text("half"), FOREVER], id="in mid-stream"),
    ],
)
async def test_an_attempt_ends_at_its_deadline(script: Script) -> None:
    found = await outcome(*script, limits=Limits(first_byte_s=30, stall_s=30, deadline_s=0.2))
    assert type(found.error) is DeadlineExceeded


async def test_an_upstream_that_never_pauses_meets_its_deadline_too() -> None:
    endless = [Text("x" * 1000)] * 1_000_000
    found = await outcome(*endless, limits=Limits(first_byte_s=30, stall_s=30, deadline_s=1))
    assert type(found.error) is DeadlineExceeded


class Torrent:
    """A body whose next bytes are always there, so that reading it never waits."""

    async def aiter_bytes(self) -> AsyncGenerator[bytes, None]:
        while True:
            yield b": comment\n\n"

    async def aclose(self) -> None:
        """Nothing to close."""


async def test_a_reader_that_never_has_to_wait_meets_its_deadline_too() -> None:
    async def open_body() -> Torrent:
        return Torrent()

    limits = Limits(first_byte_s=30, stall_s=30, deadline_s=0.1)
    with pytest.raises(DeadlineExceeded):
        async with AnswerStream(open_body, ChunkReader(Tally()), limits) as stream:
            assert [batch async for batch in stream] == []


async def test_a_silence_after_the_finish_reason_is_not_waited_out() -> None:
    limits = Limits(first_byte_s=30, stall_s=0.05, deadline_s=30)
    found = await outcome(Text("all"), Finish(), FOREVER, limits=limits)
    assert found.error is None
    assert found.tally.finish_reason == "stop"


async def test_keep_alives_after_the_finish_reason_are_not_waited_for() -> None:
    kept_alive: Script = [Comment(), Pause(0.01)] * 10_000
    limits = Limits(first_byte_s=30, stall_s=0.1, deadline_s=30)
    found = await outcome(Text("all"), Finish(), *kept_alive, limits=limits)
    assert (found.text, found.error) == ("all", None)


THOUGHT = Pause(6)


@pytest.mark.parametrize(
    "early",
    [
        pytest.param([Finish()], id="in the first chunk"),
        pytest.param([Text("I will see."), Finish()], id="after a step of several"),
        pytest.param([Reasoning("hm"), Finish()], id="after the reasoning"),
    ],
)
def test_a_thought_of_six_seconds_after_an_early_finish_reason_is_waited_for(
    early: Script,
) -> None:
    async def read_all() -> Reading:
        reading = Reading()
        body = ScriptedBody([*early, THOUGHT, Text("all"), THOUGHT, Text("!"), Finish(), Done()])

        async def open_body() -> ScriptedBody:
            return body

        stream = AnswerStream(open_body, ChunkReader(reading.tally), Limits())
        await reading.read(stream)
        return reading

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        found = runner.run(read_all())
    assert found.text.endswith("all!")
    assert (found.error, found.tally.finish_reason) == (None, "stop")


@pytest.mark.parametrize("early", [[Finish()], [Text("a"), Finish(), Text("b")]])
async def test_a_silence_after_an_early_finish_reason_is_a_stall(early: Script) -> None:
    limits = Limits(first_byte_s=0.2, stall_s=0.2, deadline_s=30)
    found = await outcome(*early, FOREVER, limits=limits)
    assert type(found.error) is Stalled
