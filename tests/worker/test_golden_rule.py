"""The golden rule, over random streams in random segments: see docs/wires.md."""

import asyncio
import logging
import random
from typing import Any

import msgspec
import pytest
import structlog

from tests.support.clock import JumpingLoop
from tests.support.scripted import (
    OfflineUpstream,
    ScriptedAppender,
    ScriptedQueue,
    lease,
    tools,
)
from tests.worker.endings import RandomBody, StreamStep, expected, random_stream
from tests.worker.jobs import FAILING, said
from tickertape.worker.job import Job
from tickertape.worker.upstream.answer_stream import AnswerStream, Limits
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally

# The quick tests take the first of the streams.
FEW, ALL = 1000, 10_000


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand jobs would log forty thousand lines."""
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    monkeypatch.setattr(
        "tickertape.worker.job.log", structlog.wrap_logger(None, wrapper_class=quiet)
    )


class RandomUpstream(OfflineUpstream):
    """Answers each call with the same stream."""

    def __init__(self, stream: list[StreamStep], rng: random.Random) -> None:
        super().__init__()
        self._random_body = RandomBody(stream, rng)

    def stream(
        self,
        payload: dict[str, Any],
        tally: Tally,
        limits: Limits | None = None,
        *,
        request_id: str = "",
    ) -> AnswerStream:
        async def open_body() -> RandomBody:
            return self._random_body

        reader = ChunkReader(tally, request_id=request_id)
        return AnswerStream(open_body, reader, limits or Limits())


async def outcome(stream: list[StreamStep], rng: random.Random) -> tuple[list[str], Any, Any]:
    """What a job wrote, its finish_reason, and the code it failed with or is tried again for."""
    queue = ScriptedQueue()
    await Job(
        lease(payload=FAILING), tools(RandomUpstream(stream, rng), queue, ScriptedAppender())
    ).run()
    ending = queue.calls[-1]
    if ending.verb == "retry":
        return [], None, ending.details["reason"]
    *entries, terminal = said(ending.details)
    written = [_words(entry) for entry in entries]
    state = ending.details["state"]
    assert (state == "completed") == ("finish_reason" in terminal)
    return written, terminal.get("finish_reason"), terminal.get("code")


def _words(entry: str) -> str:
    letter, payload = entry[0], entry[1:]
    return str(msgspec.json.decode(payload)["arguments"]) if letter == "t" else payload


@pytest.mark.parametrize(
    "streams", [FEW, pytest.param(ALL, marks=[pytest.mark.slow, pytest.mark.long])]
)
def test_an_answer_is_completed_only_if_its_end_was_declared_and_nothing_was_lost(
    streams: int,
) -> None:
    rng = random.Random(7)

    async def check_all() -> None:
        for n in range(streams):
            stream = random_stream(rng)
            rule = expected(stream)
            found = await outcome(stream, rng)
            assert found == (rule.texts, rule.finish_reason, rule.code), (n, stream)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(check_all())
