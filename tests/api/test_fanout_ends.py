"""How the fan-out ends its connections or starts them over, whatever happens to the log."""

import pytest

from tests.support.stage import Stage
from tests.support.wait import wait_until
from tickertape.api.protocols.native.text_wire import TextWire
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.api.protocols.openai_chat.wire import ChatCompletionsWire
from tickertape.broker.codec import Cursor, Entry, encode_data


@pytest.fixture
async def stage() -> Stage:
    return Stage()


class FallingWire(NativeWire):
    """A wire with a defect that one text triggers."""

    def frame(self, entry: Entry) -> bytes:
        if entry.text == "odd":
            raise KeyError(entry.text)
        return super().frame(entry)


async def test_a_wire_that_fails_at_an_entry_aborts_only_its_own_readers() -> None:
    stage = Stage(FallingWire)
    others = stage.watched.tape.rendering("another", NativeWire)
    reader = stage.join()
    stage.type("a", "odd", "b")
    assert reader.is_closed
    assert not reader.ended_whole
    assert reader.body.endswith(b'{"text":"a"}\n\n')
    assert others.frames[-1].endswith(b'{"text":"b"}\n\n')


async def test_the_stream_of_a_log_that_is_gone_ends_with_a_gone_event(stage: Stage) -> None:
    transport = stage.join()
    stage.watched.is_gone = True
    stage.watched.wake_all()
    assert transport.body.endswith(b"event: gone\ndata: {}\n\n")
    assert transport.ended_whole


async def test_a_log_that_was_replaced_is_sent_from_its_first_entry(stage: Stage) -> None:
    quick, slow = stage.join(), stage.join(fills_up=True)
    stage.type("lost")
    stage.watched.tape.clear()
    stage.watched.epoch += 1
    stage.watched.wake_all()
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
    stage.watched.wake_all()
    slow.free()
    for transport in (quick, slow):
        before, rewind, after = transport.body.partition(b"event: rewind\n")
        assert rewind
        assert after.endswith(stage.whole)
        assert b"event: rewind" not in before + after


async def test_a_connection_that_joins_with_a_position_from_before_a_rewind_starts_over(
    stage: Stage,
) -> None:
    stage.type("lost", "lost, too")
    stage.watched.tape.clear()
    stage.watched.epoch += 1
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {"n": 7}))
    late = stage.join(position=4, epoch=0)
    before, rewind, after = late.body.partition(b"event: rewind\n")
    assert (before, rewind != b"") == (b"id: \n", True)
    assert after.endswith(stage.whole)


async def test_raw_text_is_broken_off_where_the_wire_is_cut() -> None:
    stage = Stage(TextWire)
    transport = stage.join()
    stage.type("half")
    stage.finish("failed")
    assert transport.body == b"half"
    assert transport.is_closed
    assert not transport.ended_whole


def chat_wire() -> ChatCompletionsWire:
    return ChatCompletionsWire("r0_x", include_usage=False)


async def test_a_wire_that_ends_before_its_log_does_ends_every_connection_in_order() -> None:
    stage = Stage(chat_wire)
    quick, slow = stage.join(), stage.join(fills_up=True)
    stage.type("half")
    begun_anew = {"prev": str(stage.watched.tape.last), "n": 2}
    stage.watched.tape.offer(Cursor(3, 0), encode_data("reset", begun_anew))
    stage.watched.wake_all()
    # Readers of this wire are not affected by what happens to the log after that.
    stage.watched.is_gone = True
    stage.watched.wake_all()
    slow.free()
    late = stage.join()
    for transport in (quick, slow, late):
        assert transport.body == stage.whole
        assert b'data: {"error":' in transport.body
        assert transport.ended_whole
    assert b"[DONE]" not in stage.whole


async def test_a_log_that_is_gone_is_an_error_where_the_wire_has_errors() -> None:
    stage = Stage(chat_wire)
    transport = stage.join()
    stage.type("half")
    stage.watched.is_gone = True
    stage.watched.wake_all()
    assert transport.body.startswith(stage.whole + b'data: {"error":')
    assert transport.ended_whole


async def test_raw_text_of_a_completed_answer_ends_in_order() -> None:
    stage = Stage(TextWire)
    transport = stage.join()
    stage.type("all")
    stage.finish()
    assert transport.body == b"all"
    assert transport.ended_whole


async def test_a_drain_ends_every_connection_with_the_farewell_of_its_wire(stage: Stage) -> None:
    transports = [stage.join(), stage.join(fills_up=True)]
    farewells = [b"retry: 5\n\n", b"retry: 7\n\n"]
    stage.audience.drain()
    assert sorted(transport.body[-len(farewells[0]) :] for transport in transports) == farewells
    for transport in transports:
        assert transport.ended_whole
    transports[1].free()
    await wait_until(lambda: stage.is_empty, description="all have left")


async def test_a_slow_reader_that_reads_again_before_its_turn_after_a_rewind_gets_the_rewind() -> (
    None
):
    stage = Stage(interval_s=60.0)
    slow = stage.join(fills_up=True)
    stage.type("lost")
    stage.watched.tape.clear()
    stage.watched.epoch += 1
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {"n": 7}))
    slow.free()
    _, rewind, after = slow.body.partition(b"event: rewind\n")
    assert rewind
    assert b"lost" not in after


async def test_a_finished_log_that_is_replaced_ends_when_the_new_log_does(
    stage: Stage,
) -> None:
    slow = stage.join(fills_up=True)
    stage.type("lost")
    stage.finish()
    stage.watched.tape.clear()
    stage.watched.epoch += 1
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
    stage.watched.wake_all()
    slow.free()
    assert not slow.is_closed
    stage.watched.tape.offer(Cursor(5, 0), encode_data("started", {"prev": "1-0", "n": 1}))
    stage.watched.tape.offer(Cursor(5, 1), encode_data("completed", {}))
    stage.watched.wake_all()
    assert slow.body.endswith(stage.whole)
    assert slow.ended_whole
