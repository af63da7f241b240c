"""The flush rule, answer by answer."""

import asyncio

import pytest

from tests.support.scripted import ScriptedAppender, lease, until
from tickertape.broker.kinds import AppendOutcome
from tickertape.worker.log_writer import MAX_UNACKED_ENTRIES, LogWriter
from tickertape.worker.outcome import Stop

A, B, C, D = b"da", b"db", b"dc", b"dd"


class Desk:
    """A writer, what it sent, and what it said had failed."""

    def __init__(self) -> None:
        self.stops: list[Stop] = []
        self.appender = ScriptedAppender()
        self.writer = LogWriter(self.appender, lease(), self.stops.append)

    @property
    def sent(self) -> list[tuple[int, list[bytes]]]:
        return [(call.first_seq, call.values) for call in self.appender.calls]

    def answer(self, word: AppendOutcome, seq: int = -1) -> None:
        self.appender.calls[-1].answer(word, seq)


@pytest.fixture
async def desk() -> Desk:
    return Desk()


async def test_the_first_piece_goes_out_at_once_and_the_rest_together_after_its_answer(
    desk: Desk,
) -> None:
    desk.writer.write([A])
    desk.writer.write([B])
    desk.writer.write([C])
    assert desk.sent == [(1, [A])]
    desk.answer("OK", 1)
    assert desk.sent == [(1, [A]), (2, [B, C])]
    desk.answer("OK", 3)
    assert (desk.writer.first_unacked_seq, desk.writer.unacked) == (4, [])
    desk.writer.write([D])
    assert desk.sent[-1] == (4, [D])


async def test_one_call_carries_no_more_than_its_bound(desk: Desk) -> None:
    desk.writer.write([A] * 1100)
    for acked in (500, 1000, 1100):
        desk.answer("OK", acked)
    assert [len(values) for _, values in desk.sent] == [500, 500, 100]


async def test_what_is_there_already_counts_as_written(desk: Desk) -> None:
    desk.writer.write([A])
    desk.answer("DUP", 1)
    assert desk.writer.first_unacked_seq == 2
    assert desk.stops == []


async def test_a_call_without_an_answer_is_sent_again_with_the_same_ids_once_redis_is_back(
    desk: Desk,
) -> None:
    desk.writer.write([A])
    desk.writer.write([B])
    desk.answer("LOST")
    desk.writer.write([C])
    await asyncio.sleep(0)
    assert desk.sent == [(1, [A])]
    desk.appender.connected.set()
    await until(lambda: len(desk.sent) == 2)
    assert desk.sent[-1] == (1, [A, B, C])
    desk.answer("OK", 3)
    assert desk.writer.unacked == []


async def test_a_log_that_is_ahead_is_caught_up_with(desk: Desk) -> None:
    desk.writer.write([A])
    desk.writer.write([B, C])
    desk.answer("GAP", 2)  # an earlier call arrived although its answer did not
    assert desk.sent[-1] == (3, [C])
    assert desk.stops == []


async def test_a_log_that_is_behind_what_was_acknowledged_has_lost_writes(desk: Desk) -> None:
    desk.writer.write([A, B])
    desk.answer("OK", 2)
    desk.writer.write([C])
    desk.answer("GAP", 1)
    assert desk.stops == [Stop.LOG_LOST]
    desk.writer.write([D])
    assert len(desk.sent) == 2


@pytest.mark.parametrize(
    ("word", "stop"),
    [("FENCED", Stop.FENCED), ("TOO_LONG", Stop.LOG_FULL), ("REFUSED", Stop.LOG_LOST)],
)
async def test_a_refusal_is_reported_once_and_nothing_is_written_after_it(
    desk: Desk, word: AppendOutcome, stop: Stop
) -> None:
    desk.writer.write([A])
    desk.writer.write([B])
    desk.answer(word)
    desk.writer.write([C])
    assert desk.stops == [stop]
    assert desk.sent == [(1, [A])]
    await desk.writer.flushed()
    await desk.writer.room()


async def test_a_full_log_discards_the_entries_that_wait_for_it(desk: Desk) -> None:
    desk.writer.write([A, B])
    desk.answer("TOO_LONG")
    assert desk.writer.unacked == []
    assert desk.writer.first_unacked_seq == 1


async def test_an_upstream_that_is_too_fast_waits_for_room(desk: Desk) -> None:
    desk.writer.write([A] * (MAX_UNACKED_ENTRIES + 500))
    waiting = asyncio.create_task(desk.writer.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.answer("OK", 499)
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.answer("OK", 500)
    await waiting
    await desk.writer.room()


async def test_flushed_returns_when_all_is_acknowledged(desk: Desk) -> None:
    await desk.writer.flushed()
    desk.writer.write([A])
    desk.writer.write([B])
    waiting = asyncio.create_task(desk.writer.flushed())
    await asyncio.sleep(0)
    desk.answer("OK", 1)
    await asyncio.sleep(0)
    assert not waiting.done()
    desk.answer("OK", 2)
    await waiting


async def test_closing_ends_all_waits(desk: Desk) -> None:
    desk.writer.write([A] * (MAX_UNACKED_ENTRIES + 1))
    waiting = [
        asyncio.create_task(desk.writer.room()),
        asyncio.create_task(desk.writer.flushed()),
    ]
    await asyncio.sleep(0)
    desk.writer.close()
    await asyncio.gather(*waiting)


@pytest.mark.parametrize("word", ["OK", "LOST", "FENCED", "GAP", "TOO_LONG"])
async def test_a_closed_writer_ignores_answers(desk: Desk, word: AppendOutcome) -> None:
    desk.writer.write([A])
    desk.writer.write([B])
    desk.writer.close()
    desk.answer(word, 0)
    desk.appender.connected.set()
    await asyncio.sleep(0)
    assert desk.stops == []
    assert desk.sent == [(1, [A])]
    assert desk.writer.unacked == [A, B]


async def test_closing_ends_a_resend(desk: Desk) -> None:
    desk.writer.write([A])
    desk.answer("LOST")
    await asyncio.sleep(0)
    desk.writer.close()
    desk.appender.connected.set()
    await asyncio.sleep(0)
    assert desk.sent == [(1, [A])]
