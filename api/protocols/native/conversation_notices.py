"""Notices about a conversation, sent while one of its requests is read and between two requests."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from tickertape.api.fanout.plain_reader import PlainReader


class ConversationNotices:
    """Frames without a place in the order of entries. At most one of each key waits to be sent.

    While a request is read, its reader sends them; otherwise `woken` is set, and the owner sends
    what `pop` returns.
    """

    def __init__(self, woken: asyncio.Event) -> None:
        self._woken = woken
        self._unsent: dict[str, bytes] = {}
        self._reader: PlainReader | None = None

    @property
    def is_reading(self) -> bool:
        """Whether a request is read now."""
        return self._reader is not None

    def send(self, key: str, frame: bytes) -> None:
        """Send a frame as soon as possible, in place of an unsent one of its key."""
        if self._reader is not None:
            self._reader.take_frame(key, frame)
        else:
            self._unsent[key] = frame
            self._woken.set()

    @contextmanager
    def through(self, reader: PlainReader) -> Iterator[None]:
        """Send through the reader of a request, until its frames have ended."""
        for key, frame in self.pop().items():
            reader.take_frame(key, frame)
        self._reader = reader
        try:
            yield
        finally:
            self._reader = None
            self._unsent |= reader.pop_frames()

    def pop(self) -> dict[str, bytes]:
        """The unsent frames by their keys."""
        unsent, self._unsent = self._unsent, {}
        return unsent
