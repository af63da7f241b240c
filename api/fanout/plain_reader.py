"""One reader of one log on plain ASGI: a position, and what to send next."""

import asyncio
from collections.abc import AsyncIterator, Iterator

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

    def _ready(self) -> Iterator[Frame]:
        """What to send now. Each piece is made when the client has taken the one before."""
        for piece in self._missed():
            if piece != b"":
                yield piece
        yield from self._take_notices()

    def _missed(self) -> Iterator[Frame]:
        watched, rendering = self._watched, self._rendering
        frames = rendering.frames
        while True:
            if self._epoch != watched.epoch:
                self._epoch, self._position = watched.epoch, 0
                yield rendering.wire.notice("rewind", {"reason": "log_changed"}) or CUT
            if self._position >= frames.count:
                break
            begin, self._position = self._position, frames.stop_after(self._position)
            yield frames.between(begin, self._position)
        if rendering.is_cut:
            yield CUT
        elif watched.is_gone and not rendering.is_over:
            yield rendering.wire.notice("gone", {}) or CUT

    def _take_notices(self) -> list[bytes]:
        notices = [*self._notices.values(), *self.pop_frames().values()]
        self._notices.clear()
        return [notice for notice in notices if notice]

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
