"""The fan-out loop: every connection gets every frame once, in order, however fast it reads."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.fanout import FanOut
from api.hub import Hub
from api.live_connection import LiveConnection
from api.slice import SLICE_CONNECTIONS
from api.watched import Watched
from api.wires.chat_completions import ChatCompletionsWire
from api.wires.native import NativeWire
from api.wires.text import TextWire
from broker.codec import Cursor, encode_data, encode_text
from tests.support.wait import wait_until


class FakeHub:
    """Counts who holds a tape."""

    live_connections = 0

    def hold(self, watched: Watched) -> None:
        watched.users += 1

    def release(self, watched: Watched) -> None:
        watched.users -= 1


class FakeTransport:
    """A socket that is full when the test says so."""

    def __init__(self) -> None:
        self.sent = b""
        self.writes = 0
        self.is_closed = self.is_aborted = self.fills_up = False
        self.protocol: LiveConnection | None = None

    def write(self, data: bytes) -> None:
        assert not self.is_closed, "written after the end"
        self.sent += data
        self.writes += 1
        if self.fills_up and self.protocol is not None:
            self.protocol.pause_writing()

    def close(self) -> None:
        self.is_closed = True
        asyncio.get_running_loop().call_soon(self._lost)

    def abort(self) -> None:
        self.is_aborted = True
        self.close()

    def _lost(self) -> None:
        if self.protocol is not None:
            self.protocol.connection_lost(None)

    @property
    def body(self) -> bytes:
        """The body so far, without its chunks' framing."""
        rest, body = self.sent, b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            length = int(size, 16)
            body, rest = body + rest[:length], rest[length + 2 :]
        return body

    @property
    def ended_whole(self) -> bool:
        return self.is_closed and self.sent.endswith(b"0\r\n\r\n")


class Stage:
    """A log, its fan-out, and connections that join it."""

    def __init__(self, wire: Any = NativeWire, interval_s: float = 0.0) -> None:
        self.watched = Watched("r0_" + "a" * 26)
        self.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
        opener = {"prev": "1-0", "n": 1}
        self.watched.tape.offer(Cursor(2, 0), encode_data("started", opener))
        self.rendering = self.watched.tape.rendering("w", wire)
        self.hub = FakeHub()
        self.is_empty = False
        self.fanout = FanOut(
            cast("Hub", self.hub),
            self.watched,
            self.rendering,
            interval_s=interval_s,
            has_comments=wire is NativeWire,
            on_empty=self._emptied,
        )
        self.transports: list[FakeTransport] = []

    def _emptied(self) -> None:
        self.is_empty = True

    def join(self, position: int = 0, *, fills_up: bool = False) -> FakeTransport:
        transport = FakeTransport()
        transport.fills_up = fills_up
        connection = LiveConnection(cast("asyncio.Transport", transport), set())
        transport.protocol = connection
        self.transports.append(transport)
        self.fanout.join(connection, position)
        return transport

    def type(self, *texts: str) -> None:
        for text in texts:
            last = self.watched.tape.last
            self.watched.tape.offer(Cursor(2, last.seq + 1), encode_text("delta", text))
        self.watched.wake_all()

    def finish(self, kind: str = "completed") -> None:
        last = self.watched.tape.last
        self.watched.tape.offer(Cursor(2, last.seq + 1), encode_data(kind, {}))
        self.watched.wake_all()

    @property
    def whole(self) -> bytes:
        return b"".join(self.rendering.frames)


@pytest.fixture
async def stage() -> Stage:
    return Stage()


async def test_all_connections_get_the_same_bytes(stage: Stage) -> None:
    early, late = stage.join(), stage.join(position=1)
    stage.type("a", "b")
    stage.finish()
    await wait_until(lambda: stage.is_empty, description="all have left")
    assert early.body == stage.whole
    assert late.body == stage.rendering.frames.between(1, len(stage.rendering.frames))
    assert early.ended_whole
    assert late.ended_whole
    assert stage.watched.users == 0
    assert stage.hub.live_connections == 0


async def test_frames_that_came_together_go_out_in_one_write(stage: Stage) -> None:
    transport = stage.join()
    before = transport.sent.count(b"\r\nid:")
    stage.type("a", "b", "c")
    assert transport.sent.count(b"\r\nid:") == before + 1


async def test_a_full_socket_holds_nothing_up_and_gets_all_it_missed_in_one_write(
    stage: Stage,
) -> None:
    slow, quick = stage.join(fills_up=True), stage.join()
    stage.type("a")
    stage.type("b")
    held = slow.body
    assert quick.body == stage.whole
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
    assert slow.body == stage.whole
    assert slow.body.startswith(held)


async def test_a_connection_that_is_full_at_the_end_is_not_ended_before_it_has_all(
    stage: Stage,
) -> None:
    slow = stage.join(fills_up=True)
    stage.type("a")
    stage.finish()
    assert not slow.is_closed
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
    assert slow.body == stage.whole
    assert slow.ended_whole


async def test_who_joins_a_finished_log_gets_it_and_the_end(stage: Stage) -> None:
    stage.type("a")
    stage.finish()
    transport = stage.join()
    assert transport.body == stage.whole
    assert transport.ended_whole


async def test_a_connection_that_stalls_is_dropped_and_one_that_reads_is_not(stage: Stage) -> None:
    stalled, reading = stage.join(fills_up=True), stage.join()
    stage.type("a")
    for _ in range(4):
        stage.fanout.tick()
        if stalled.is_aborted:
            break
        await asyncio.sleep(0)
    assert stalled.is_aborted
    assert not reading.is_closed


async def test_a_quiet_stream_gets_a_comment_and_a_busy_one_does_not(stage: Stage) -> None:
    transport = stage.join()
    stage.fanout.tick()
    stage.type("a")
    stage.fanout.tick()
    assert b": hb" not in transport.sent
    stage.fanout.tick()
    assert transport.sent.count(b": hb\n\n") == 1


async def test_a_log_that_is_gone_says_so_and_ends(stage: Stage) -> None:
    transport = stage.join()
    stage.watched.is_gone = True
    stage.watched.wake_all()
    assert transport.body.endswith(b"event: gone\ndata: {}\n\n")
    assert transport.ended_whole


async def test_a_log_that_went_back_in_time_is_told_from_its_beginning(stage: Stage) -> None:
    quick, slow = stage.join(), stage.join(fills_up=True)
    stage.type("lost")
    stage.watched.tape.clear()
    stage.watched.rewinds += 1
    stage.watched.wake_all()
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
    stage.watched.wake_all()
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
    for transport in (quick, slow):
        before, rewind, after = transport.body.partition(b"event: rewind\n")
        assert rewind
        assert after.endswith(stage.whole)
        assert b"event: rewind" not in before + after


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
    # What becomes of the log after that is of no interest to who reads this wire.
    stage.watched.is_gone = True
    stage.watched.wake_all()
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
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


async def test_raw_text_ends_whole_when_the_answer_is() -> None:
    stage = Stage(TextWire)
    transport = stage.join()
    stage.type("all")
    stage.finish()
    assert transport.body == b"all"
    assert transport.ended_whole


async def test_a_drain_ends_every_connection_with_a_farewell_of_its_own(stage: Stage) -> None:
    transports = [stage.join(), stage.join(fills_up=True)]
    farewells = [b"retry: 5\n\n", b"retry: 7\n\n"]
    left = iter(farewells)
    stage.fanout.drain(lambda: next(left))
    assert sorted(transport.body[-len(farewells[0]) :] for transport in transports) == farewells
    for transport in transports:
        assert transport.ended_whole
    await wait_until(lambda: stage.is_empty, description="all have left")


async def test_the_first_event_of_a_quiet_stream_goes_out_at_once_and_others_wait() -> None:
    stage = Stage(interval_s=0.2)
    transports = [stage.join() for _ in range(100)]
    stage.type("a")
    assert transports[0].body == stage.whole
    stage.type("b")
    stage.type("c")
    assert transports[0].body != stage.whole
    await wait_until(lambda: transports[0].body == stage.whole, description="the interval ends")
    assert transports[0].sent.count(b"\r\nid:") == 3


async def test_more_connections_than_a_slice_all_get_everything(stage: Stage) -> None:
    transports = [stage.join() for _ in range(3 * SLICE_CONNECTIONS + 1)]
    stage.type("a")
    joined_meanwhile = stage.join()
    stage.type("b")
    stage.finish()
    await wait_until(lambda: stage.is_empty, description="all have left")
    assert {transport.body for transport in [*transports, joined_meanwhile]} == {stage.whole}


async def test_a_slice_whose_turn_comes_late_gets_what_came_until_then_in_one_write(
    stage: Stage,
) -> None:
    transports = [stage.join() for _ in range(2 * SLICE_CONNECTIONS)]
    first, last = transports[0], transports[-1]
    writes_before = last.writes
    stage.type("a")
    assert (first.body, last.body) == (stage.whole, stage.rendering.frames.between(0, 2))
    stage.type("b")
    await wait_until(lambda: first.body == last.body == stage.whole, description="all were written")
    assert last.writes == writes_before + 1


async def test_a_slow_reader_that_comes_back_before_its_turn_after_a_rewind_is_told_of_it() -> None:
    stage = Stage(interval_s=60.0)
    slow = stage.join(fills_up=True)
    stage.type("lost")
    stage.watched.tape.clear()
    stage.watched.rewinds += 1
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {"n": 7}))
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
    _, rewind, after = slow.body.partition(b"event: rewind\n")
    assert rewind
    assert b"lost" not in after


async def test_a_finished_log_that_turns_out_to_be_another_one_ends_once_that_does(
    stage: Stage,
) -> None:
    slow = stage.join(fills_up=True)
    stage.type("lost")
    stage.finish()
    stage.watched.tape.clear()
    stage.watched.rewinds += 1
    stage.watched.tape.offer(Cursor(1, 0), encode_data("queued", {}))
    stage.watched.wake_all()
    slow.fills_up = False
    assert slow.protocol is not None
    slow.protocol.resume_writing()
    assert not slow.is_closed
    stage.watched.tape.offer(Cursor(5, 0), encode_data("started", {"prev": "1-0", "n": 1}))
    stage.watched.tape.offer(Cursor(5, 1), encode_data("completed", {}))
    stage.watched.wake_all()
    assert slow.body.endswith(stage.whole)
    assert slow.ended_whole


async def test_a_client_that_leaves_lets_go_of_the_tape(stage: Stage) -> None:
    transport = stage.join()
    assert stage.watched.users == 1
    transport._lost()
    assert stage.watched.users == 0
    assert stage.is_empty
    stage.type("nobody reads this")


steps = st.lists(
    st.tuples(st.sampled_from(["type", "join", "fill", "free", "leave"]), st.integers(0, 4)),
    max_size=40,
)


@given(steps)
def test_no_order_of_events_loses_or_repeats_a_frame(script: list[tuple[str, int]]) -> None:
    asyncio.run(_play(script))


async def _play(script: list[tuple[str, int]]) -> None:
    stage = Stage()
    keeper = stage.join()
    left: set[int] = set()
    for step, number in script:
        present = [t for t in stage.transports[1:] if id(t) not in left]
        chosen = present[number % len(present)] if present else None
        if step == "type":
            stage.type(*"x" * (number + 1))
        elif step == "join":
            stage.join(position=min(number, len(stage.rendering.frames)))
        elif chosen is not None and chosen.protocol is not None:
            if step == "fill":
                chosen.fills_up = True
            elif step == "free":
                chosen.fills_up = False
                chosen.protocol.resume_writing()
            else:
                left.add(id(chosen))
                chosen._lost()
    for transport in stage.transports:
        if id(transport) not in left:
            transport.fills_up = False
            cast("LiveConnection", transport.protocol).resume_writing()
            assert stage.whole.endswith(transport.body)
    assert keeper.body == stage.whole
