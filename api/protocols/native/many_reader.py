"""Reads several conversations into one stream: one connection serves all tabs of a browser."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import TypeAlias

from tickertape.api.fanout.wire import Frame
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.native.conversation_reader import ConversationReader
from tickertape.api.protocols.native.wire import heartbeat

# Frames of a conversation; its failure; or None at its end, which only a stop brings.
_Item: TypeAlias = tuple[str, Frame | Exception | None]


class ManyReader:
    """Reads conversations at once; the readers are given by their conversations' ids.

    A `conversation` event precedes each frame whose conversation is not that of the frame before.
    A reader goes on only when its frame is taken, so a slow client has at most one frame of each
    conversation in memory.
    """

    def __init__(self, readers: Mapping[str, ConversationReader], heartbeat_s: float) -> None:
        self._readers = readers
        self._heartbeat_s = heartbeat_s
        # The readers' heartbeats become one.
        self._heartbeat = heartbeat(heartbeat_s)
        self._items: asyncio.Queue[_Item] = asyncio.Queue(maxsize=1)
        self._is_stopped = False

    @property
    def was_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopped

    def stop(self) -> None:
        """End the reading at once, because this process shuts down."""
        self._is_stopped = True
        for reader in self._readers.values():
            reader.stop()

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames to send. Raises what the reading of a conversation raises."""
        pumps = [
            asyncio.create_task(self._pump(*each), name="stream: conversation")
            for each in self._readers.items()
        ]
        try:
            async with aclosing(self._merged(len(pumps))) as merged:  # type: ignore[type-var]
                async for frame in merged:
                    yield frame
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _merged(self, open_count: int) -> AsyncIterator[Frame]:
        current: str | None = None
        while open_count:
            try:
                async with asyncio.timeout(self._heartbeat_s):
                    conversation_id, item = await self._items.get()
            except TimeoutError:
                yield self._heartbeat
                continue
            if isinstance(item, Exception):
                raise item
            if item is None:
                open_count -= 1
                continue
            if conversation_id != current:
                current = conversation_id
                yield _switch(conversation_id)
            yield item

    async def _pump(self, conversation_id: str, reader: ConversationReader) -> None:
        end: Exception | None = None
        try:
            async for frame in reader.frames():
                if frame != self._heartbeat:
                    await self._items.put((conversation_id, frame))
        except Exception as error:  # noqa: BLE001  raised again where the frames are taken
            end = error
        await self._items.put((conversation_id, end))


def _switch(conversation_id: str) -> bytes:
    return b"event: conversation\ndata: %b\n\n" % encode_json({"conversation_id": conversation_id})
