"""One reader of one log on plain ASGI: a position, and what to send next."""

import asyncio
from collections.abc import AsyncIterator

from tickertape.api.fanout.frames import FRAMES_PER_BLOCK
from tickertape.api.fanout.rendering import Rendering
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import CUT, Frame
from tickertape.runtime.json_types import JsonObject
from tickertape.runtime.wait import wait_at_most


class PlainReader:
    """Reads the frames of one rendering from a position on, to the end of the log.

    Frames that arrive during a write are sent with the next one. Thus a slow connection gets fewer
    and larger writes, and needs no buffer. The caller must retain the tape while it uses the
    reader. `position` is valid in `epoch`, a value of `watched.epoch`.
    """

    def __init__(
        self,
        watched: WatchedLog,
        rendering: Rendering,
        position: int,
        *,
        epoch: int,
        comment: bytes,
        heartbeat_s: float,
    ) -> None:
        self._watched = watched
        self._rendering = rendering
        self._position = position
        self._comment = comment
        self._heartbeat_s = heartbeat_s
        self._epoch = epoch
        self._notices = {
            kind: rendering.wire.notice(kind, d) for kind, d in watched.notices.items()
        }
        self._frames: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._is_stopped = False

    def stop(self) -> None:
        """End the reading at once, because this process shuts down."""
        self._is_stopped = True
        self._changed.set()

    @property
    def was_stopped(self) -> bool:
        """Whether `stop` ended the reading before the log ended."""
        return self._is_stopped

    async def frames(self) -> AsyncIterator[Frame]:
        """What to send, piece by piece. CUT, as the last piece, breaks the stream off."""
        watched = self._watched
        watched.listen(self._changed.set, self.take_notice)
        try:
            while not self._is_stopped:
                self._changed.clear()
                for piece in self._ready():
                    yield piece
                    if piece is CUT:
                        return
                if self._is_at_the_end():
                    return
                woke = await wait_at_most(self._changed, self._heartbeat_s)
                if not woke and self._comment:
                    yield self._comment
        finally:
            watched.leave(self._changed.set, self.take_notice)

    def pop_frames(self) -> dict[str, bytes]:
        """What `take_frame` got and the reading did not send before it ended, by its keys."""
        frames, self._frames = self._frames, {}
        return frames

    def _ready(self) -> list[Frame]:
        rendering, wire = self._rendering, self._rendering.wire
        pieces: list[Frame] = []
        if self._epoch != self._watched.epoch:
            self._epoch, self._position = self._watched.epoch, 0
            pieces.append(wire.notice("rewind", {"reason": "log_changed"}) or CUT)
        frames = rendering.frames
        while self._position < len(frames):
            end = min(self._position + FRAMES_PER_BLOCK, len(frames))
            pieces.append(frames.between(self._position, end))
            self._position = end
        if rendering.is_cut:
            pieces.append(CUT)
        elif self._watched.is_gone and not rendering.is_over:
            pieces.append(wire.notice("gone", {}) or CUT)
        pieces += self._notices.values()
        self._notices.clear()
        pieces += self.pop_frames().values()
        return [piece for piece in pieces if piece != b""]

    def _is_at_the_end(self) -> bool:
        watched, rendering = self._watched, self._rendering
        is_last = watched.tape.is_over or rendering.is_over
        return watched.is_gone or (is_last and self._position >= len(rendering.frames))

    def take_notice(self, kind: str, data: JsonObject) -> None:
        """Send a notice as soon as possible, in place of an unsent one of its kind."""
        # Only the newest notice of a kind matters, so a slow reader holds at most one of each.
        self._notices[kind] = self._rendering.wire.notice(kind, data)
        self._changed.set()

    def take_frame(self, key: str, frame: bytes) -> None:
        """Send bytes that are no part of the log as soon as possible.

        They replace unsent bytes with the same key, so that a slow reader holds few of them.
        """
        self._frames[key] = frame
        self._changed.set()
