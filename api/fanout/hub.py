"""One hub per process: keeps a tape up to date for every log that has readers here.

All logs share one push connection to each node of Redis. Pushes are hints, and the log is the
truth:

    watch:  subscribe, wait for the acknowledgement, read the log, then merge pushes by id. The log
            of a request that runs or waits is read in the same trip, behind the subscription.
    gap:    a push that is not the next entry makes the hub read from the last entry it has.
    break:  after a reconnect, Redis acknowledges every subscription again, and every log is read.
    tail:   in each heartbeat the hub queries the last id of every watched log. That finds pushes
            lost at the very end, logs that expired, and logs that lost entries in a fail-over.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial

import structlog

from tickertape.api.fanout.erasure_channels import ErasureChannels
from tickertape.api.fanout.fanout_counts import FanoutCounts
from tickertape.api.fanout.finished_logs import FinishedLogs
from tickertape.api.fanout.healing import Healer
from tickertape.api.fanout.held_bytes import HeldBytes
from tickertape.api.fanout.hub_limits import HubLimits
from tickertape.api.fanout.large_logs import LargeLogs
from tickertape.api.fanout.log_ends import LogEnds
from tickertape.api.fanout.watched_log import WatchedLog, merge
from tickertape.api.fanout.wire import Dialect
from tickertape.broker import request_ids
from tickertape.broker.codec import Notice, unpack
from tickertape.broker.connections import Connections
from tickertape.broker.errors import EntryMalformed, Unavailable
from tickertape.broker.first_reads import FirstRead, Opening
from tickertape.broker.log import Logs
from tickertape.broker.push import Push
from tickertape.runtime.pulse import Pulse
from tickertape.runtime.settings import Settings

log = structlog.get_logger()


_LIMITS = HubLimits()


class Hub:
    """Watches logs; `run` has to be running."""

    def __init__(
        self,
        connections: Connections,
        settings: Settings,
        limits: HubLimits = _LIMITS,
        *,
        is_new_and_short: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._limits = limits
        self._is_new_and_short = is_new_and_short
        self._keys = connections.keys
        self._logs = Logs(connections)
        self.faults = connections.faults
        self._heartbeat_s = settings.heartbeat_s
        self._push = Push(connections, self)
        self.ends = LogEnds(self._logs, self._push)
        self._watched: dict[str, WatchedLog] = {}
        self._by_channel: dict[bytes, WatchedLog] = {}
        self._finished = FinishedLogs(limits.finished_cache_bytes)
        self.rendering = self._finished.rendering
        self.held = HeldBytes(self._watched, self._finished)
        self._large = LargeLogs(limits.large_logs_bytes)
        # How many connections were handed over to audiences; each of them holds its tape.
        self.live_connections = 0
        self._checked, self._partitions = connections.checked, connections.partitions
        self._erasures = ErasureChannels(connections.keys, connections.partitions, self._push)
        self.counts = FanoutCounts()
        self._topics: dict[bytes, set[Callable[[], None]]] = {}
        self._healer = Healer(
            self._logs,
            on_healed=self._changed,
            on_gone=self._gone,
            pause_s=limits.heal_pause_s,
            max_rewinds=limits.max_rewinds,
            counts=self.counts,
        )
        self._tail_checks = Pulse(limits.silence_limit_s)

    def queued(self) -> list[WatchedLog]:
        """The watched logs with listeners whose request waits for its first attempt."""
        return [
            each for each in self._watched.values() if each.tape.is_queued and each.notice_listeners
        ]

    @property
    def is_up(self) -> bool:
        """Whether pushes arrive and the tail check runs, which finds lost pushes."""
        return self._push.is_up and not self._tail_checks.is_silent

    async def run(self) -> None:
        """Keep the push connections up and check the tails until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen_to_erasures(), name="erasures")
                group.create_task(self._push.run(), name="push")
                group.create_task(self._check_tails(), name="tail check")
        finally:
            self._partitions.unlisten(self._erasures.subscribe)
            await self._healer.aclose()

    async def acquire(
        self, request_id: str, *, is_short: bool = False, dialect: Dialect | None = None
    ) -> WatchedLog:
        """A tape that has all entries written until now, and receives those that follow.

        The tape is kept up to date until `release`. The log of a record that `is_short`, or of a
        request that is new, is read in one trip with its subscription, and its entries are rendered
        in `dialect` as they are decoded for the tape. Raises Unavailable if the log cannot be read
        within `sync_timeout_s`, or is one too many of the large ones.
        """
        watched = await self._finished_log(request_id) or self._watched.get(request_id)
        if watched is None:
            is_short = is_short or self._is_new_and_short(request_id)
            watched = self._begin(request_id, is_short=is_short)
            if dialect is not None and is_short:
                watched.tape.begin_rendering(dialect.name, dialect.make)
        self.hold(watched)
        try:
            if not watched.synced.is_set():
                async with asyncio.timeout(self._limits.sync_timeout_s):
                    await watched.synced.wait()
            if watched.holders == 1:
                self._large.admit(watched)
        except BaseException as error:
            self.release(watched)
            if isinstance(error, TimeoutError):
                raise Unavailable from None
            raise
        return watched

    async def _finished_log(self, request_id: str) -> WatchedLog | None:
        """A kept tape that is over, unless its log has lost the end since, as in a fail-over."""
        watched = self._finished.get(request_id)
        if watched is None or watched.end is None:
            return None
        # While Redis is away, readers of finished logs are still served.
        with contextlib.suppress(Unavailable):
            if await self.ends.tail_of(watched.end) != watched.end.last:
                self._finished.drop(request_id)
                return None
        return watched

    def doubt(self, request_id: str) -> None:
        """Read a log again for its next reader, although it was over."""
        self._finished.drop(request_id)

    def hold(self, watched: WatchedLog) -> None:
        """Keep a tape up to date for one more holder."""
        watched.holders += 1

    def release(self, watched: WatchedLog) -> None:
        """Drop one holder. The tape is kept up to date for `linger_s` after the last one."""
        watched.holders -= 1
        if watched.holders == 0:
            asyncio.get_running_loop().call_later(
                self._limits.linger_s, self._end_if_unused, watched
            )

    async def catch_up(self, watched: WatchedLog) -> None:
        """Read a log to its present end; raises Unavailable after `sync_timeout_s`.

        A client may have read further at another process, which pushes reached before this one.
        """
        self._healer.start(watched, "caught_up")
        if watched.heal is not None:
            _, pending = await asyncio.wait({watched.heal}, timeout=self._limits.sync_timeout_s)
            if pending:
                raise Unavailable

    @contextlib.asynccontextmanager
    async def watch(
        self, request_id: str, *, is_short: bool = False, dialect: Dialect | None = None
    ) -> AsyncIterator[WatchedLog]:
        """Hold a tape for the length of a block; raises Unavailable as `acquire`."""
        watched = await self.acquire(request_id, is_short=is_short, dialect=dialect)
        try:
            yield watched
        finally:
            self.release(watched)

    @contextlib.contextmanager
    def listen(self, channel: str, wake: Callable[[], None]) -> Iterator[None]:
        """Call `wake` after every push on a channel, and whenever pushes may have been missed."""
        name = channel.encode()
        wakes = self._topics.setdefault(name, set())
        wakes.add(wake)
        self._push.subscribe(name)
        try:
            yield
        finally:
            wakes.discard(wake)
            if not wakes and self._topics.pop(name, None) is not None:
                self._push.unsubscribe(name)

    def on_subscribed(self, channel: bytes) -> None:
        """Read what was pushed before this subscription; called by Push."""
        if (watched := self._by_channel.get(channel)) is not None:
            is_first = not watched.synced.is_set()
            self._healer.start(watched, "opened" if is_first else "reconnected")
        if channel in self._erasures:
            # Erasures may have been missed, and a log that was erased must not be kept.
            self._finished.clear()
        for wake in list(self._topics.get(channel, ())):
            wake()

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Merge pushed entries, or read the log if they do not fit; called by Push."""
        watched = self._by_channel.get(channel)
        if watched is None:
            self._on_other_push(channel, message)
            return
        try:
            pushed = unpack(message)
            if isinstance(pushed, Notice):
                self._on_notice(watched, pushed)
            elif watched.heal is not None or not watched.synced.is_set():
                watched.early.append(pushed)
            else:
                is_next = merge(watched, pushed)
                self._changed(watched)
                if not is_next:
                    self._healer.start(watched, "gap")
        except EntryMalformed:
            log.warning("push not understood", channel=channel.decode(errors="replace"))
            self._healer.start(watched, "malformed")

    def _on_other_push(self, channel: bytes, message: bytes) -> None:
        if channel in self._erasures:
            self._erased(message.decode(errors="replace"))
            return
        for wake in list(self._topics.get(channel, ())):
            wake()

    def _on_notice(self, watched: WatchedLog, news: Notice) -> None:
        if news.kind == "gone":
            self._gone(watched)
        else:
            watched.publish_notice(news.kind, news.data)

    def _changed(self, watched: WatchedLog) -> None:
        watched.wake_all()
        if watched.tape.is_over:
            self._finish(watched)

    def _begin(self, request_id: str, *, is_short: bool) -> WatchedLog:
        watched = WatchedLog(request_id, self._keys.log_channel(request_id).encode())
        self._watched[request_id] = watched
        self._by_channel[watched.channel] = watched
        keys = self._keys.log(request_id), self._keys.request(request_id)
        read = FirstRead(*keys, partial(self._opened, watched)) if is_short else None
        self._push.subscribe(watched.channel, read)
        if not self._push.is_up_for(request_ids.partition_of(request_id)):
            self._healer.start(watched, "opened")
        return watched

    def _opened(self, watched: WatchedLog, opening: Opening | None) -> None:
        if self._by_channel.get(watched.channel) is watched:
            self._healer.opened(watched, opening)

    def _finish(self, watched: WatchedLog) -> None:
        # No entry follows a terminal, so the subscription has served its purpose.
        request_id = watched.tape.request_id
        if self._watched.pop(request_id, None) is None:
            return
        del self._by_channel[watched.channel]
        self._push.unsubscribe(watched.channel)
        watched.end = self.ends.note(watched.tape)
        self._finished.add(watched)
        self._large.note(watched)

    def _end_if_unused(self, watched: WatchedLog) -> None:
        request_id = watched.tape.request_id
        if watched.holders > 0 or self._watched.get(request_id) is not watched:
            return
        del self._watched[request_id]
        del self._by_channel[watched.channel]
        self._push.unsubscribe(watched.channel)
        if watched.heal is not None:
            watched.heal.cancel()

    def _erased(self, request_id: str) -> None:
        """Drop the tape of a log that is over and was erased; its readers are sent `gone`."""
        if (watched := self._finished.get(request_id)) is not None:
            self._gone(watched)

    def _gone(self, watched: WatchedLog) -> None:
        watched.is_gone = True
        watched.synced.set()
        watched.wake_all()
        request_id = watched.tape.request_id
        self._finished.drop(request_id)
        if self._watched.pop(request_id, None) is not None:
            del self._by_channel[watched.channel]
            self._push.unsubscribe(watched.channel)

    async def _listen_to_erasures(self) -> None:
        # An old server does not know the command, and is to be refused with words of its own.
        await self._checked.wait()
        self._partitions.listen(self._erasures.subscribe)
        self._erasures.subscribe()

    async def _check_tails(self) -> None:
        due = 0.0
        while True:
            self._tail_checks.beat()
            await asyncio.sleep(min(self._limits.tick_s, self._heartbeat_s))
            due -= self._limits.tick_s
            if self.is_up and due > 0:
                continue
            due = self._heartbeat_s
            for watched in self._by_partition():
                # A partition whose server is away must not keep the others from being checked.
                with self.faults.contain("tail check"):
                    await self._heal_by_tails(watched)

    def _by_partition(self) -> list[list[WatchedLog]]:
        partitions: dict[int, list[WatchedLog]] = {}
        for request_id, watched in self._watched.items():
            partitions.setdefault(request_ids.partition_of(request_id), []).append(watched)
        return list(partitions.values())

    async def _heal_by_tails(self, all_watched: list[WatchedLog]) -> None:
        watched = [each for each in all_watched if each.heal is None]
        tails = await self._logs.tails([each.tape.request_id for each in watched])
        for each, tail in zip(watched, tails, strict=True):
            if self._watched.get(each.tape.request_id) is not each:
                # The terminal was pushed while the query was in flight. A finished tape must not be
                # healed.
                continue
            last = each.tape.last
            if tail is None or tail > last or (tail < last and each.heal is None):
                self._healer.start(each, "tail")
