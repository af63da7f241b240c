"""The fan-out loop: every connection gets every frame once, in order, however fast it reads."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.stage import Stage
from tests.support.wait import wait_until
from tickertape.api.fanout import audience as module
from tickertape.api.fanout.slice import SLICE_CONNECTIONS


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
    assert stage.watched.holders == 0
    assert stage.hub.live_connections == 0


async def test_frames_that_arrive_together_are_written_together(stage: Stage) -> None:
    transport = stage.join()
    before = transport.sent.count(b"\r\nid:")
    stage.type("a", "b", "c")
    assert transport.sent.count(b"\r\nid:") == before + 1


async def test_a_full_socket_delays_no_other_and_gets_all_missed_frames_in_one_write(
    stage: Stage,
) -> None:
    slow, quick = stage.join(fills_up=True), stage.join()
    stage.type("a")
    stage.type("b")
    held = slow.body
    assert quick.body == stage.whole
    slow.free()
    assert slow.body == stage.whole
    assert slow.body.startswith(held)


async def test_a_connection_that_is_full_at_the_end_gets_every_frame_before_it_is_closed(
    stage: Stage,
) -> None:
    slow = stage.join(fills_up=True)
    stage.type("a")
    stage.finish()
    assert not slow.is_closed
    slow.free()
    assert slow.body == stage.whole
    assert slow.ended_whole


async def test_a_connection_that_joins_a_finished_log_gets_all_of_it_and_the_end(
    stage: Stage,
) -> None:
    stage.type("a")
    stage.finish()
    transport = stage.join()
    assert transport.body == stage.whole
    assert transport.ended_whole


async def test_a_connection_that_stalls_is_dropped_and_one_that_reads_is_not(stage: Stage) -> None:
    stalled, reading = stage.join(fills_up=True), stage.join()
    stage.type("a")
    for _ in range(4):
        stage.audience.tick()
        if stalled.is_aborted:
            break
        await asyncio.sleep(0)
    assert stalled.is_aborted
    assert not reading.is_closed


async def test_a_connection_that_never_reads_its_end_is_dropped(stage: Stage) -> None:
    stalled, slow = stage.join(fills_up=True), stage.join(fills_up=True)
    stage.audience.drain()
    for _ in range(4):
        slow.unsent_bytes -= 1
        stage.audience.tick()
    assert stalled.is_aborted
    assert not slow.is_aborted
    slow.free()
    await wait_until(lambda: stage.is_empty, description="both have left")


async def test_a_socket_that_a_snapshot_has_filled_gets_no_further_writes(stage: Stage) -> None:
    transport = stage.join(position=2, fills_up=True, first=b"snapshot")
    stage.type("a", "b")
    assert transport.body == b"snapshot"
    transport.free()
    assert transport.body == b"snapshot" + stage.rendering.frames.between(2, 4)


async def test_a_connection_that_joins_ahead_of_the_others_gets_every_later_frame() -> None:
    stage = Stage(interval_s=60.0)
    keeper = stage.join()
    stage.type("a")
    stage.type("b")  # waits for the interval
    ahead = stage.join(position=4)
    stage.type("c")
    stage.audience._turn()
    assert keeper.body == stage.whole
    assert ahead.body == stage.rendering.frames.between(4, 5)
    stage.finish()
    stage.audience._turn()
    assert ahead.body == stage.rendering.frames.between(4, 6)
    assert ahead.ended_whole


async def test_a_quiet_stream_gets_a_comment_and_a_busy_one_does_not(stage: Stage) -> None:
    transport = stage.join()
    stage.audience.tick()
    stage.type("a")
    stage.audience.tick()
    assert b": hb" not in transport.sent
    stage.audience.tick()
    assert transport.sent.count(b": hb\n\n") == 1


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


async def test_a_slice_whose_turn_comes_late_writes_all_new_frames_at_once(
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


@pytest.mark.parametrize(
    ("readers_of_others", "interval_s", "rests"),
    [(1, 0.01, True), (0, 0.01, False), (1, 0.0, False)],
    ids=["beside other logs", "alone", "event by event"],
)
async def test_a_log_with_many_readers_pauses_for_as_long_as_it_wrote_if_other_logs_wait(
    monkeypatch: pytest.MonkeyPatch, readers_of_others: int, interval_s: float, *, rests: bool
) -> None:
    wrote_s = 0.4
    clock = itertools.count(0.0, wrote_s)  # one check before a slice is written, and one after
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stage = Stage(interval_s=interval_s)
    last = [stage.join() for _ in range(2 * SLICE_CONNECTIONS)][-1]
    stage.hub.live_connections += readers_of_others
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    stage.type("a")
    await wait_until(lambda: last.body == stage.whole, description="the second slice is written")
    assert (loop.time() - began_s >= wrote_s) == rests


async def test_a_client_that_leaves_releases_the_tape(stage: Stage) -> None:
    transport = stage.join()
    assert stage.watched.holders == 1
    transport._lost()
    assert stage.watched.holders == 0
    assert stage.is_empty
    stage.type("nobody reads this")


steps = st.lists(
    st.tuples(
        st.sampled_from(["type", "join", "fill", "free", "leave", "turn"]), st.integers(0, 9)
    ),
    max_size=40,
)


@given(steps, st.sampled_from([0.0, 0.1]))
def test_no_order_of_events_loses_or_repeats_a_frame(
    script: list[tuple[str, int]], interval_s: float
) -> None:
    asyncio.run(_play(script, interval_s))


async def _play(script: list[tuple[str, int]], interval_s: float) -> None:
    stage = Stage(interval_s=interval_s)
    keeper = stage.join()
    left: set[int] = set()
    for step, number in script:
        present = [t for t in stage.transports[1:] if id(t) not in left]
        chosen = present[number % len(present)] if present else None
        if step == "type":
            stage.type(*"x" * (number + 1))
        elif step == "join":
            stage.join(position=max(0, len(stage.rendering.frames) - number))
        elif step == "turn":
            await wait_until(lambda: stage.audience._timer is None, description="the interval ends")
        elif chosen is not None:
            if step == "fill":
                chosen.fills_up = True
            elif step == "free":
                chosen.free()
            else:
                left.add(id(chosen))
                chosen._lost()
    present = [t for t in stage.transports if id(t) not in left]
    for transport in present:
        transport.free()
    stage.finish()
    await wait_until(lambda: all(t.ended_whole for t in present), description="all to end")
    assert keeper.body == stage.whole
    for transport in present:
        frames = stage.rendering.frames
        assert transport.body == frames.between(transport.joined_at, len(frames))
