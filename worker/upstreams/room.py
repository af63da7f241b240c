"""The room that upstreams have for calls: the limits per minute, and estimates of tokens."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from tickertape.broker.errors import Unavailable
from tickertape.broker.upstream_limits import PerMinute, UpstreamLimits
from tickertape.worker.prompt import estimated_tokens
from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.members import Member
from tickertape.worker.upstreams.table import Row

T = TypeVar("T")

_MOST_TOKENS = 10**9


class Place(Protocol):
    """A place of a call within the limits per minute of an upstream."""

    async def settle(self, tokens: int) -> None:
        """Put the tokens that the call used in place of those that it reserved."""
        ...


class Turnstile(Protocol):
    """Keeps the limits per minute of the upstreams, over all workers."""

    async def enter(self, row: Row, tokens: int) -> Place | float:
        """A place for a call, or the time in seconds until there may be one."""
        ...


class SharedLimits:
    """The limits in Redis. While Redis is away, calls of limited upstreams wait for it."""

    def __init__(self, limits: UpstreamLimits, *, pause_s: float = 0.2) -> None:
        self._limits = limits
        self._pause_s = pause_s

    async def enter(self, row: Row, tokens: int) -> Place | float:
        """A place for a call, or the time in seconds until there may be one."""
        call = secrets.token_hex(8)
        per_minute = PerMinute(row.requests_per_minute, row.tokens_per_minute)
        wait_s = await self._insist(lambda: self._limits.enter(row.name, call, per_minute, tokens))
        is_settled = row.tokens_per_minute is not None
        return _Place(self, row.name, call if is_settled else None) if wait_s is None else wait_s

    async def leave(self, name: str, call: str, tokens: int) -> None:
        """Count the tokens that a call has used."""
        await self._insist(lambda: self._limits.leave(name, call, tokens))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call while Redis is away."""
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(self._pause_s)


class _Place:
    """A place in Redis. Without `call`, there are no tokens to settle."""

    def __init__(self, limits: SharedLimits, name: str, call: str | None) -> None:
        self._limits, self._name, self._call = limits, name, call

    async def settle(self, tokens: int) -> None:
        if self._call is not None:
            await self._limits.leave(self._name, self._call, tokens)


class Admitted(NamedTuple):
    """The upstream that a call may go to now, and its place if the upstream has limits."""

    member: Member
    place: Place | None


def used_tokens(tally: Tally, messages: list[dict[str, Any]], deltas: int) -> int:
    """Pure: the tokens of a call that has had so many deltas, as reported, or else estimated.

    A call without output and without a report has most likely used none.
    """
    counts = [(tally.usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
    if all(isinstance(count, int) and 0 <= count <= _MOST_TOKENS for count in counts):
        return sum(count for count in counts if isinstance(count, int))
    return estimated_tokens(messages) + deltas if tally.has_new_output else 0
