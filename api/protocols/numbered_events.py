"""Pure: finds events by their number among the frames of a log, where clients count events.

A frame holds the events of one entry, from none to many. Every process renders a log to the same
frames, so a number means the same event everywhere.
"""

from typing import NamedTuple

from tickertape.api.fanout.frames import Frames

# JSON escapes line ends, so an empty line ends an event and is in none.
_END = b"\n\n"


class Following(NamedTuple):
    """What follows an event: the frames from `position` on, after the rest of its own frame."""

    position: int
    rest: bytes


def count_events(frames: Frames) -> int:
    """How many events the frames hold."""
    total = position = 0
    while position < frames.count:
        begin, position = position, frames.stop_after(position)
        total += frames.between(begin, position).count(_END)
    return total


def skip_events(frames: Frames, number: int) -> Following | None:
    """What follows the first `number` events; None if the frames hold fewer."""
    position, left = 0, number
    while left:
        if position >= frames.count:
            return None
        # Blocks are counted whole, because a log may have 100,000 frames.
        stop = frames.stop_after(position)
        count = frames.between(position, stop).count(_END)
        if left <= count:
            return _skip_near(frames, position, left)
        position, left = stop, left - count
    return Following(position, b"")


def _skip_near(frames: Frames, position: int, left: int) -> Following:
    """What follows the first `left` events behind a position; the frames hold so many."""
    while True:
        events = events_of(frames[position])
        position += 1
        if left <= len(events):
            return Following(position, b"".join(events[left:]))
        left -= len(events)


def events_of(frame: bytes) -> list[bytes]:
    """The events of a frame."""
    return [event + _END for event in frame.split(_END)[:-1]]
