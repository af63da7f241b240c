"""Reads the requests of a conversation, one after the other, including future ones."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from tickertape.api.fanout.plain_reader import PlainReader
from tickertape.api.fanout.streams import Streams
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.fanout.wire import Frame
from tickertape.api.protocols.native.conversation_cursor import (
    ConversationCursor,
    WireBehind,
    is_older,
    position_after,
)
from tickertape.api.protocols.native.conversation_notices import ConversationNotices
from tickertape.api.protocols.native.lost_start import has_lost_start
from tickertape.api.protocols.native.received_ends import ReceivedEnds
from tickertape.api.protocols.native.remembered import remembered_frames
from tickertape.api.protocols.native.turn_ends import End, end_of, has_lost
from tickertape.api.protocols.native.wire import NativeWire, heartbeat
from tickertape.broker.branches import shown_parents
from tickertape.broker.conversation_states import ConversationState
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable
from tickertape.broker.turns import Turn
from tickertape.runtime.wait import wait_at_most


class ConversationReader:
    """Reads a conversation after a cursor, until the client leaves or the process stops."""

    def __init__(
        self,
        streams: Streams,
        conversations: Conversations,
        tenant: str,
        conversation_id: str,
        *,
        start: ConversationCursor | None,
        unavailable_pause_s: float,
        trace: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        # The reading of a request that has not ended, by its id.
        self._trace = trace
        self._unavailable_pause_s = unavailable_pause_s
        self._hub = streams.hub
        self._watchers = streams.watchers
        self._checks = streams.checks
        self._conversations = conversations
        self._tenant, self._conversation_id = tenant, conversation_id
        self._place = (0, "")
        self._may_move = False
        self._start = start
        self._heartbeat_s = streams.heartbeat_s
        self._heartbeat = heartbeat(self._heartbeat_s)
        self._seen: set[str] = set()
        self._erased: set[str] = set()
        # The state at the last read of the turns, and at the last one of which all was sent.
        self._read_state: ConversationState | None = None
        self._sent_state: ConversationState | None = None
        # How each turn of the last read had ended, in order.
        self._ends: dict[str, End | None] = {}
        self._received = ReceivedEnds(streams.hub.ends, start.ahead if start else 0)
        self._has_lost_end = self._has_lost_start = False
        self._changed = asyncio.Event()
        # Set with `_changed`, and for a notice that is sent while no request is read.
        self._woken = asyncio.Event()
        self._notices = ConversationNotices(self._woken)
        self._count = 0
        # A client that resumes may have a title that was erased since: no title is news to it.
        self._title: str | None = None if start is None else ""
        self._looking: asyncio.Task[None] | None = None
        self._has_news = False
        self._is_stopped = False
        self._reader: PlainReader | None = None

    @property
    def was_stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._is_stopped

    def stop(self) -> None:
        """End the reading at once, because this process shuts down."""
        self._is_stopped = True
        self._wake()
        if self._reader is not None:
            self._reader.stop()

    async def frames(self) -> AsyncIterator[Frame]:
        """The frames to send, in order."""
        partitions = self._conversations.partitions
        partitions.listen(self._map_changed)
        try:
            is_first = True
            while await self._find_place():
                channel = self._conversations.channel(*self._place)
                with (
                    self._hub.listen(channel, self._wake),
                    self._watchers.join(self._place, self._take_count) as count,
                    self._checks.join(self._place, self._take_state),
                ):
                    if is_first:
                        is_first, self._count = False, count
                        yield NativeWire().notice("watchers", {"count": count})
                    else:
                        self._take_count(count)
                    async for frame in self._frames_here():
                        yield frame
        finally:
            partitions.unlisten(self._map_changed)
            if self._looking is not None:
                self._looking.cancel()

    async def _frames_here(self) -> AsyncIterator[Frame]:
        """The frames to send, until the conversation may be in another partition."""
        self._sent_state = None
        async for turns in self._turns():
            if turns is not None:
                async for frame in self._news(turns):
                    yield frame
            async for frame in self._idle_frames():
                yield frame

    async def _news(self, turns: list[Turn]) -> AsyncIterator[Frame]:
        """What the turns have that was not sent."""
        if reason := self._rewind_reason(turns):
            yield NativeWire().notice("rewind", {"reason": reason})
        self._send_erased(turns)
        for notice in self._notices.pop().values():
            yield notice
        async for frame in self._unseen(turns):
            yield frame

    async def _find_place(self) -> bool:
        """Learn the partition of the conversation; False if the reading was stopped before."""
        while not self._is_stopped:
            self._may_move = False
            try:
                self._place = await self._conversations.place(self._tenant, self._conversation_id)
            except Unavailable:
                await wait_at_most(self._changed, self._unavailable_pause_s)
                continue
            return True
        return False

    async def _has_moved(self) -> bool:
        return self._place != await self._conversations.place(self._tenant, self._conversation_id)

    def _map_changed(self) -> None:
        self._may_move = True
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._woken.set()
        self._look()

    def _look(self) -> None:
        """Send what the turns say besides the request that is read, which may go on for long."""
        self._has_news = True
        if self._notices.is_reading and (self._looking is None or self._looking.done()):
            self._looking = asyncio.create_task(
                self._send_news(), name="stream: news of a conversation"
            )

    async def _send_news(self) -> None:
        while self._has_news and self._notices.is_reading:
            self._has_news = False
            try:
                turns = await self._read_turns(await self._state())
                has_lost = await self._received.has_lost()
            except Unavailable:
                self._has_news = True
                await asyncio.sleep(self._unavailable_pause_s)
                continue
            self._send_erased(turns)
            if has_lost and self._reader is not None:
                # The conversation starts over now: a client that left before the request has ended
                # would keep an end that Redis has lost.
                self._reader.stop()

    def _take_count(self, count: int) -> None:
        """Send a new count of the conversation's readers."""
        if count != self._count:
            self._count = count
            self._notices.send("watchers", NativeWire().notice("watchers", {"count": count}))

    def _take_title(self, title: str | None) -> None:
        """Send a new title."""
        if title != self._title:
            self._title = title
            self._notices.send("title", NativeWire().notice("title", {"title": title}))

    def _take_state(self, state: ConversationState) -> None:
        """Read the turns again if a check shows a change that no push has shown."""
        may_begin_elsewhere = not state.rows and self._conversations.may_move(self._place[1])
        has_changed = state != self._sent_state and not self._notices.is_reading
        if may_begin_elsewhere or has_changed:
            self._wake()

    async def _idle_frames(self) -> AsyncIterator[Frame]:
        """What to send until the turns may have changed."""
        while not self._changed.is_set():
            has_woken = await wait_at_most(self._woken, self._heartbeat_s)
            self._woken.clear()
            for frame in self._notices.pop().values():
                yield frame
            if not has_woken:
                yield self._heartbeat

    async def _turns(self) -> AsyncIterator[list[Turn] | None]:
        """The current turns at each iteration, None if all that they have was sent.

        A read that fails is repeated after a pause.
        """
        while not self._is_stopped:
            self._changed.clear()
            try:
                if self._may_move and await self._has_moved():
                    return
                self._may_move = False
                state = await self._state()
                self._has_lost_end = await self._received.has_lost()
                turns: list[Turn] | None = None
                if state != self._sent_state or self._has_lost_end:
                    self._read_state, self._sent_state = state, None
                    turns = await self._read_turns(state)
                    self._has_lost_start = await self._lost_start(turns)
            except Unavailable:
                await wait_at_most(self._changed, self._unavailable_pause_s)
                continue
            # A conversation that does not exist, or not any more, may begin elsewhere.
            self._may_move = not state.rows
            yield turns

    async def _state(self) -> ConversationState:
        state = await self._conversations.state(*self._place)
        self._take_title(state.title)
        return state

    async def _read_turns(self, state: ConversationState) -> list[Turn]:
        return await self._conversations.outlines(*self._place) if state.rows else []

    def _rewind_reason(self, turns: list[Turn]) -> str | None:
        """Why the client must start over, or None. Marks requests before the start as seen."""
        ids = [turn.request_id for turn in turns]
        before, self._ends = self._ends, {turn.request_id: end_of(turn) for turn in turns}
        if self._start is not None and (self._has_lost_start or self._start.request_id not in ids):
            self._start = None
            self._seen.clear()
            return "cursor_not_found"
        if self._start is not None:
            self._seen.update(ids[: ids.index(self._start.request_id)])
        elif self._seen and self._seen.isdisjoint(ids):
            # No seen request is left, so the conversation was forgotten. It may have new requests.
            self._seen.clear()
            return "forgotten"
        elif self._has_lost_end or has_lost(before, turns):
            for request_id in self._seen:
                self._hub.doubt(request_id)
            self._seen.clear()
            self._received.clear()
            return "log_changed"
        return None

    def _send_erased(self, turns: list[Turn]) -> None:
        """Send notices of the turns that were erased after the client may have received them."""
        for turn in turns:
            if not turn.is_erased or turn.request_id in self._erased:
                continue
            self._erased.add(turn.request_id)
            is_start = self._start is not None and self._start.request_id == turn.request_id
            if is_start or turn.request_id in self._seen:
                notice = NativeWire(turn.request_id).notice("erased", {})
                self._notices.send(f"erased {turn.request_id}", notice)
            self._seen.add(turn.request_id)
        if self._start is not None and self._start.request_id in self._erased:
            self._start = None

    async def _unseen(self, turns: list[Turn]) -> AsyncIterator[Frame]:
        parents = shown_parents(turns)
        for turn in turns:
            if turn.request_id in self._seen:
                continue
            try:
                async for frame in self._request(turn, parents[turn.request_id]):
                    yield frame
            except Unavailable:
                # The turn is not marked as seen, so the next read of the turns repeats it.
                await wait_at_most(self._changed, self._unavailable_pause_s)
                self._wake()
                return
            if self.was_stopped:
                return
            self._seen.add(turn.request_id)
            if self._changed.is_set():
                # A parent of the turns behind this one may have been erased.
                return
        self._sent_state = self._read_state

    async def _request(self, turn: Turn, parent_id: str | None) -> AsyncIterator[Frame]:
        async with self._hub.watch(turn.request_id) as watched:
            for frame in await self._open(turn, parent_id, watched):
                yield frame
            if self._reader is not None:
                traced = nullcontext() if watched.tape.is_over else self._trace(turn.request_id)
                with self._notices.through(self._reader), traced:
                    if self._changed.is_set():
                        self._look()
                    async for frame in self._reader.frames():
                        yield frame
                self._received.add(watched.end)

    async def _lost_start(self, turns: list[Turn]) -> bool:
        start = self._start
        if start is None or all(turn.request_id != start.request_id for turn in turns):
            return False
        return await has_lost_start(self._hub, start, turns)

    async def _open(self, turn: Turn, parent: str | None, watched: WatchedLog) -> list[Frame]:
        place = {"parent_id": parent}
        received = self._received.last_attempt
        ahead = received if is_older(watched.tape, received) else 0
        kind = partial(WireBehind, ahead=ahead) if ahead else NativeWire
        make = partial(kind, turn.request_id, place)
        wire, name = make(), ("conversation", turn.request_id, parent, ahead)
        rendering = await self._hub.rendering(watched, name, make)
        start, self._start = self._start, None
        if watched.is_gone:
            self._reader = None
            whole = await self._conversations.whole_at(*self._place, [turn])
            # An outline has a digest in place of the answer.
            remembered = whole[0] if whole else replace(turn, answered=None)
            return remembered_frames(remembered, wire, place)
        frames: list[Frame] = []
        position: int | None = 0
        if start is not None and start.request_id == turn.request_id:
            position = position_after(watched.tape, start.cursor)
            if position is None:
                frames = [wire.notice("rewind", {"reason": "cursor_not_found"})]
        self._reader = PlainReader(
            watched,
            rendering,
            position or 0,
            epoch=watched.epoch,
            comment=self._heartbeat,
            heartbeat_s=self._heartbeat_s,
        )
        if self._is_stopped:  # `stop` was called before the reader existed
            self._reader.stop()
        return frames
