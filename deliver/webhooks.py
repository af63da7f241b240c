"""Sends each event to its receivers, and again after a failure, with longer and longer pauses.

A receiver that fails several times in a row gets no more calls for a while, and what was meant for
it waits in Redis. So a receiver that is away or slow costs others nothing.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
import structlog

from tickertape.broker.outbox import Ended, Fate, Outbox
from tickertape.broker.task_faults import TaskFaults
from tickertape.deliver.events import Event, event_of
from tickertape.deliver.post import Reply
from tickertape.deliver.receivers import Receivers
from tickertape.deliver.signature import signed_headers
from tickertape.deliver.webhook_file import Receiver
from tickertape.runtime.histogram import Histogram

log = structlog.get_logger()

# As https://www.standardwebhooks.com recommends: more than a day, so that people can mend it.
PAUSES_S = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 36_000.0)
NOT_CALLED = "the receiver got no call, because its other calls failed"
_TASK = "webhooks"
_MOST_IN_FLIGHT = 256
# Of one receiver, so that a slow one leaves room for others.
_MOST_OF_RECEIVER = 16
_FAILURES_BEFORE_PAUSE = 3
_JITTER = 0.1
OUTCOMES = ("accepted", "failed", "given_up", "dropped")

Post = Callable[[Receiver, bytes, dict[str, str]], Awaitable[Reply]]
Work = Callable[[], Coroutine[Any, Any, list[Fate]]]


@dataclass(frozen=True)
class WebhookTiming:
    """The pauses and limits of sending. Tests pass shorter ones."""

    pauses_s: tuple[float, ...] = PAUSES_S
    # A call waits for one of the receiver's slots, and is sent again after the same time.
    busy_s: float = 1.0
    # What waits for a receiver is given up when it is this old.
    give_up_s: float = 172_800.0


class Webhook(msgspec.Struct, frozen=True):
    """An event on its way to one receiver; `tries` counts the calls that failed.

    `reason` is that of the last failure. `since` is when people had it sent again, in s.
    """

    receiver: str
    event: Event
    tries: int = 0
    reason: str = ""
    since: int = 0

    @property
    def request_id(self) -> str:
        """The request that the event is about."""
        return self.event.data["request_id"]


@dataclass
class _State:
    """How a receiver has been answering."""

    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_MOST_OF_RECEIVER))
    failures: int = 0
    # When the first of these failures was.
    failed_at_s: float = 0.0
    next_call_s: float = 0.0


@dataclass
class Webhooks:
    """Sends what the outbox of webhooks has. `counts` has the outcomes of calls since the start."""

    outbox: Outbox
    receivers: Receivers
    post: Post
    faults: TaskFaults
    timing: WebhookTiming = field(default_factory=WebhookTiming)
    clock: Callable[[], float] = time.monotonic
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.times = Histogram(
            "tickertape_webhook_seconds", "How long a receiver took to answer a call, or to fail"
        )
        self._states: dict[str, _State] = {}
        self._in_flight: dict[str | bytes, asyncio.Task[None]] = {}

    async def round(self, partition: int) -> int:
        """Begin to send what a partition has; returns how much that was. Raises Unavailable."""
        self.receivers.look()
        # What is on its way now may be done before the reply is here, and is in the reply then.
        under_way = {*self._in_flight}
        collected = await self.outbox.collect(partition, "webhooks")
        if collected is None:
            return 0
        work: list[tuple[str | bytes, Work]] = [
            *(
                (f"{partition} {each.entry}", partial(self._first, each))
                for each in collected.ended
            ),
            *((repeat, partial(self._again, repeat)) for repeat in collected.due),
        ]
        new = [(key, begin) for key, begin in work if key not in under_way]
        for key, begin in new:
            await self._begin(key, partition, begin)
        return len(new)

    def failing_s(self) -> list[float]:
        """For how long each receiver whose last call failed has accepted no call."""
        return [
            self.clock() - state.failed_at_s
            for name, state in self._states.items()
            if state.failures and self.receivers.named(name) is not None
        ]

    async def drain(self, limit_s: float) -> None:
        """Wait for what is on its way; what is not done then is sent again by another process."""
        if tasks := list(self._in_flight.values()):
            _, left = await asyncio.wait(tasks, timeout=limit_s)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _begin(self, key: str | bytes, partition: int, work: Work) -> None:
        while len(self._in_flight) >= _MOST_IN_FLIGHT:
            await asyncio.wait(self._in_flight.values(), return_when=asyncio.FIRST_COMPLETED)

        async def run() -> None:
            try:
                with self.faults.contain(_TASK):
                    await self.outbox.hand(partition, "webhooks", await work())
            finally:
                del self._in_flight[key]

        self._in_flight[key] = asyncio.create_task(run(), name="webhook")

    async def _first(self, ended: Ended) -> list[Fate]:
        event = event_of(ended)
        receivers = self.receivers.of(ended.tenant, event)
        fates = await asyncio.gather(
            *(self._send(each, Webhook(each.name, event)) for each in receivers)
        )
        # An event without a receiver leaves the outbox, too.
        return [fate._replace(entry=ended.entry) for fate in fates] or [Fate(ended.entry)]

    async def _again(self, repeat: bytes) -> list[Fate]:
        webhook = msgspec.json.decode(repeat, type=Webhook)
        receiver = self.receivers.named(webhook.receiver)
        if receiver is None:
            # It is no longer in the file.
            self.counts["dropped"] += 1
            return [Fate(repeat=repeat)]
        return [(await self._send(receiver, webhook))._replace(repeat=repeat)]

    async def _send(self, receiver: Receiver, webhook: Webhook) -> Fate:
        state = self._states.setdefault(receiver.name, _State())
        try:
            async with asyncio.timeout(self.timing.busy_s):
                await state.slots.acquire()
        except TimeoutError:
            return self._later(webhook, self.timing.busy_s)
        try:
            pause_s = state.next_call_s - self.clock()
            if pause_s > 0:
                return self._later(webhook, pause_s)
            reply = await self._call(receiver, webhook.event)
        finally:
            state.slots.release()
        if reply.is_accepted:
            self.counts["accepted"] += 1
            state.failures, state.next_call_s = 0, 0.0
            return Fate()
        self.counts["failed"] += 1
        return self._after_failure(receiver, state, webhook, reply)

    async def _call(self, receiver: Receiver, event: Event) -> Reply:
        body = msgspec.json.encode(event)
        headers = signed_headers(receiver.keys, event.id, int(time.time()), body)
        began_s = self.clock()
        reply = await self.post(receiver, body, headers)
        self.times.observe(self.clock() - began_s)
        return reply

    def _after_failure(
        self, receiver: Receiver, state: _State, webhook: Webhook, reply: Reply
    ) -> Fate:
        state.failures += 1
        pauses_s = self.timing.pauses_s
        if state.failures == 1:
            state.failed_at_s = self.clock()
            log.warning("a webhook was not accepted", receiver=receiver.name, reason=reply.words)
        if state.failures >= _FAILURES_BEFORE_PAUSE:
            number = min(state.failures - _FAILURES_BEFORE_PAUSE, len(pauses_s) - 1)
            # One call after a few minutes at most shows whether the receiver is back.
            pause_s = max(min(pauses_s[number], 300.0), reply.retry_after_s)
            state.next_call_s = self.clock() + pause_s
        tried = msgspec.structs.replace(webhook, tries=webhook.tries + 1, reason=reply.words)
        if reply.wants_no_more or tried.tries > len(pauses_s):
            return self._given_up(tried)
        return self._later(tried, max(pauses_s[tried.tries - 1], reply.retry_after_s))

    def _later(self, webhook: Webhook, pause_s: float) -> Fate:
        begun_s = max(webhook.event.created_at, webhook.since)
        if time.time() - begun_s > self.timing.give_up_s:
            return self._given_up(webhook)
        due_ms = int(1000 * pause_s * random.uniform(1, 1 + _JITTER))
        return Fate("", b"", webhook.request_id, msgspec.json.encode(webhook), due_ms)

    def _given_up(self, webhook: Webhook) -> Fate:
        self.counts["given_up"] += 1
        log.error(
            "a webhook was given up",
            receiver=webhook.receiver,
            webhook=webhook.event.id,
            tries=webhook.tries,
            reason=webhook.reason or NOT_CALLED,
        )
        return Fate("", b"", webhook.request_id, msgspec.json.encode(webhook))
