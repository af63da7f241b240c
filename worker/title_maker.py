"""Asks the model for titles of conversations while this worker has nothing else to do."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tickertape.broker.errors import Unavailable
from tickertape.broker.leases import Lease
from tickertape.broker.model_titles import CLAIM_S, ModelTitles, TitleClaim
from tickertape.worker.counters import Counters
from tickertape.worker.title_words import clean_title, title_request
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import UpstreamError
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.roster import UpstreamTable

log = structlog.get_logger()

_MOST_WAITING = 100
_MAX_TOKENS = 64
_TEMPERATURE = 0.2
# For upstreams that ignore the limit of tokens.
_MOST_DELTAS = 256
_DOCUMENT_BYTES = 64 * 1024


class Idleness(Protocol):
    """The part of a consumer that says whether there is time for a title."""

    full: asyncio.Event

    @property
    def is_idle(self) -> bool:
        """Whether a slot is free and nothing waits."""
        ...


@dataclass(frozen=True)
class TitleTiming:
    """The pauses and limits of titles. Tests pass shorter ones."""

    # The pause between two looks whether this worker is idle.
    look_s: float = 0.5
    # The longest time for a title.
    limit_s: float = 30.0


_TIMING = TitleTiming()


class TitleMaker:
    """Gives each new conversation a title after its first answer, one title at a time.

    A title takes no slot. It is abandoned as soon as jobs take all slots, and tried again when the
    worker is idle, within the time of its claim. An error ends it. At most _MOST_WAITING
    conversations wait; the oldest give way.
    """

    def __init__(
        self,
        titles: ModelTitles,
        upstream: Upstream | UpstreamTable,
        idleness: Idleness,
        counters: Counters,
        *,
        model: str | None = None,
        timing: TitleTiming = _TIMING,
    ) -> None:
        self._titles = titles
        self._upstream = upstream
        self._idleness = idleness
        self._counters = counters
        self._model = model
        self._timing = timing
        self._waiting: deque[Lease] = deque(maxlen=_MOST_WAITING)
        self._arrived = asyncio.Event()

    def answered(self, lease: Lease) -> None:
        """Take note that a request of a conversation was answered; returns at once."""
        if lease.conversation:
            self._waiting.append(lease)
            self._arrived.set()

    async def run(self) -> None:
        """Make titles until cancelled. No error ends this, because jobs must go on."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                await self._idle()
                try:
                    await self._make(self._waiting.popleft())
                except Exception as error:  # noqa: BLE001
                    log.warning("title not made", reason=type(error).__name__)

    async def _idle(self) -> None:
        while not self._idleness.is_idle:  # noqa: ASYNC110
            await asyncio.sleep(self._timing.look_s)

    async def _make(self, lease: Lease) -> None:
        claim = await self._titles.claim(lease.request_id, lease.conversation)
        if claim is None:
            return
        messages = title_request(*await self._titles.read(claim))
        if not messages:
            return
        params = {"max_tokens": _MAX_TOKENS, "temperature": _TEMPERATURE, "messages": messages}
        model = self._model or lease.payload.get("params", {}).get("model")
        payload = params | ({"model": model} if model else {})
        if "cache_key" in lease.payload:
            payload["cache_key"] = lease.payload["cache_key"]
        try:
            async with asyncio.timeout(CLAIM_S):
                text = await self._ask_when_idle(payload)
            await self._give(claim, clean_title(text))
        except (UpstreamError, Unavailable, TimeoutError) as error:
            # The error's message may quote the prompt.
            self._counters.titles["failed"] += 1
            log.warning("title not made", reason=type(error).__name__)

    async def _ask_when_idle(self, payload: dict[str, Any]) -> str:
        """The model's answer. An answer that gives way to jobs is asked for again."""
        while True:
            await self._idle()
            asking = asyncio.create_task(self._ask(payload), name="title")
            full = asyncio.create_task(self._idleness.full.wait(), name="title: no slot is free")
            try:
                await asyncio.wait({asking, full}, return_when=asyncio.FIRST_COMPLETED)
                if asking.done():
                    return asking.result()
            finally:
                for task in (asking, full):
                    task.cancel()
                await asyncio.gather(asking, full, return_exceptions=True)

    async def _ask(self, payload: dict[str, Any]) -> str:
        limit_s = self._timing.limit_s
        limits = Limits(limit_s, limit_s, limit_s, _DOCUMENT_BYTES)
        async with self._upstream.stream(payload, Tally(), limits) as stream:
            async for _ in stream:
                if stream.tally.deltas > _MOST_DELTAS:
                    break
        self._counters.used(stream.tally.usage)
        return stream.tally.text

    async def _give(self, claim: TitleClaim, title: str) -> None:
        is_given = bool(title) and await self._titles.give(claim, title)
        self._counters.titles["given" if is_given else "refused"] += 1
