"""One hub per process: keeps a tape up to date for every log that somebody here reads.

All logs share one push connection per partition. A push is a hint; the log is the truth:

    watch:  subscribe, wait for the acknowledgement, read the log, then merge pushes by id.
    gap:    a push that is not the next entry makes the hub read from the last entry it has.
    break:  when the push connection comes back every log is acknowledged again, and read again.
    tail:   each heartbeat every watched log's last id is asked for: a push lost at the very end, a
            log that expired and a log that went back in time (a fail-over) all show there.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from tickertape.api.fanout.finished_logs import FinishedLogs
from tickertape.api.fanout.healing import Healer, merge
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker import keys
from tickertape.broker.codec import Notice, unpack
from tickertape.broker.connections import Connections
from tickertape.broker.errors import EntryMalformed, Unavailable
from tickertape.broker.log import Logs
from tickertape.broker.push import Push
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.settings import Settings

log = structlog.get_logger()

SYNC_TIMEOUT_S = 5.0
# A log without subscribers is kept this long, so that a reader who reconnects finds its tape.
LINGER_S = 5.0
_TICK_S = 1.0
# Beyond a check that uses up all its time-outs and repeats: see broker/connections.py.
_SILENCE_LIMIT_S = 60.0


class Hub:
    """Watches logs; `run` has to be running."""

    def __init__(self, connections: Connections, settings: Settings) -> None:
        self._logs = Logs(connections)
        self._heartbeat_s = settings.heartbeat_s
        self._pushes = [Push(connections, self) for _ in range(settings.partitions)]
        self._watched: dict[str, WatchedLog] = {}
        self._by_channel: dict[bytes, WatchedLog] = {}
        self._finished = FinishedLogs()
        # Connections that were handed over to a fan-out; each also holds its tape.
        self.live_connections = 0
        self._topics: dict[bytes, set[Callable[[], None]]] = {}
        self._healer = Healer(self._logs, on_healed=self._changed, on_gone=self._gone)
        self._tail_checks = Pulse(_SILENCE_LIMIT_S)

    def queued(self) -> list[WatchedLog]:
        """The watched logs whose request still waits for its first attempt."""
        return [
            each for each in self._watched.values() if each.tape.is_queued and each.notice_listeners
        ]

    @property
    def is_up(self) -> bool:
        """Whether pushes arrive, and those that are lost are missed."""
        return all(push.is_up for push in self._pushes) and not self._tail_checks.is_silent

    async def run(self) -> None:
        """Keep the push connections up and check the tails until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number, push in enumerate(self._pushes):
                    group.create_task(push.run(), name=f"push {number}")
                group.create_task(self._check_tails(), name="tail check")
        finally:
            await self._healer.aclose()

    async def acquire(self, request_id: str) -> WatchedLog:
        """A tape that has all entries written until now and gets those that follow.

        It is kept up until `release`. Raises Unavailable when the log cannot be read within
        SYNC_TIMEOUT_S.
        """
        watched = self._finished.get(request_id) or self._watched.get(request_id)
        if watched is None:
            watched = self._begin(request_id)
        self.hold(watched)
        try:
            async with asyncio.timeout(SYNC_TIMEOUT_S):
                await watched.synced.wait()
        except BaseException as error:
            self.release(watched)
            if isinstance(error, TimeoutError):
                raise Unavailable from None
            raise
        return watched

    def hold(self, watched: WatchedLog) -> None:
        """Keep a tape up to date for one more user."""
        watched.holders += 1

    def release(self, watched: WatchedLog) -> None:
        """One user less; without any, the tape is let go after LINGER_S."""
        watched.holders -= 1
        if watched.holders == 0:
            asyncio.get_running_loop().call_later(LINGER_S, self._end_if_unused, watched)

    async def catch_up(self, watched: WatchedLog) -> None:
        """Read a tape on to where its log ends now; raises Unavailable when that takes too long.

        For a reader who was further elsewhere: pushes may reach that process before this one.
        """
        self._healer.start(watched)
        if watched.heal is not None:
            _, pending = await asyncio.wait({watched.heal}, timeout=SYNC_TIMEOUT_S)
            if pending:
                raise Unavailable

    @contextlib.asynccontextmanager
    async def watch(self, request_id: str) -> AsyncIterator[WatchedLog]:
        """Acquire a tape for the length of a block."""
        watched = await self.acquire(request_id)
        try:
            yield watched
        finally:
            self.release(watched)

    @contextlib.contextmanager
    def listen(self, partition: int, channel: str, wake: Callable[[], None]) -> Any:
        """Call `wake` after every push on another channel, and when some may have been missed."""
        name = channel.encode()
        wakes = self._topics.setdefault(name, set())
        wakes.add(wake)
        self._pushes[partition].subscribe(name)
        try:
            yield
        finally:
            wakes.discard(wake)
            if not wakes and self._topics.pop(name, None) is not None:
                self._pushes[partition].unsubscribe(name)

    def on_subscribed(self, channel: bytes) -> None:
        """Read what may have been missed before this subscription."""
        if (watched := self._by_channel.get(channel)) is not None:
            self._healer.start(watched)
        for wake in list(self._topics.get(channel, ())):
            wake()

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Merge what was pushed, or read the log when it does not fit."""
        watched = self._by_channel.get(channel)
        if watched is None:
            for wake in list(self._topics.get(channel, ())):
                wake()
            return
        try:
            pushed = unpack(message)
            if isinstance(pushed, Notice):
                self._on_notice(watched, pushed)
            elif watched.heal is not None or not watched.synced.is_set():
                watched.early.append(pushed)
            elif merge(watched, pushed):
                self._changed(watched)
            else:
                self._changed(watched)
                self._healer.start(watched)
        except EntryMalformed:
            log.warning("push not understood", channel=channel.decode(errors="replace"))
            self._healer.start(watched)

    def _on_notice(self, watched: WatchedLog, news: Notice) -> None:
        if news.kind == "gone":
            self._gone(watched)
        else:
            watched.publish_notice(news.kind, news.data)

    def _changed(self, watched: WatchedLog) -> None:
        watched.wake_all()
        if watched.tape.is_over:
            self._finish(watched)

    def _begin(self, request_id: str) -> WatchedLog:
        watched = WatchedLog(request_id)
        self._watched[request_id] = watched
        self._by_channel[watched.channel] = watched
        push = self._push_of(request_id)
        push.subscribe(watched.channel)
        if not push.is_up:
            self._healer.start(watched)
        return watched

    def _finish(self, watched: WatchedLog) -> None:
        # The terminal is the last entry there will ever be: nothing is left to listen for.
        request_id = watched.tape.request_id
        if self._watched.pop(request_id, None) is None:
            return
        del self._by_channel[watched.channel]
        self._push_of(request_id).unsubscribe(watched.channel)
        self._finished.add(watched)

    def _end_if_unused(self, watched: WatchedLog) -> None:
        request_id = watched.tape.request_id
        if watched.holders > 0 or self._watched.get(request_id) is not watched:
            return
        del self._watched[request_id]
        del self._by_channel[watched.channel]
        self._push_of(request_id).unsubscribe(watched.channel)
        if watched.heal is not None:
            watched.heal.cancel()

    def _gone(self, watched: WatchedLog) -> None:
        watched.is_gone = True
        watched.synced.set()
        watched.wake_all()
        request_id = watched.tape.request_id
        self._finished.drop(request_id)
        if self._watched.pop(request_id, None) is not None:
            del self._by_channel[watched.channel]
            self._push_of(request_id).unsubscribe(watched.channel)

    def _push_of(self, request_id: str) -> Push:
        return self._pushes[keys.partition_of(request_id) or 0]

    async def _check_tails(self) -> None:
        due = 0.0
        while True:
            self._tail_checks.beat()
            await asyncio.sleep(min(_TICK_S, self._heartbeat_s))
            due -= _TICK_S
            if self.is_up and due > 0:
                continue
            due = self._heartbeat_s
            with contextlib.suppress(Unavailable):
                await self._heal_by_tails()

    async def _heal_by_tails(self) -> None:
        watched = [each for each in self._watched.values() if each.heal is None]
        tails = await self._logs.tails([each.tape.request_id for each in watched])
        for each, tail in zip(watched, tails, strict=True):
            if self._watched.get(each.tape.request_id) is not each:
                # We ask, its terminal is pushed, the answer comes: the end is right, and a tape
                # that is kept as finished is never brought up to date again.
                continue
            last = each.tape.last
            if tail is None or tail > last or (tail < last and each.heal is None):
                self._healer.start(each)
