"""The room that upstreams have for calls: the limits per minute, and estimates of tokens."""

from typing import Any, NamedTuple, Protocol

import msgspec

from tickertape.worker.upstream.tally import Tally
from tickertape.worker.upstreams.members import Member
from tickertape.worker.upstreams.table import Row

_BYTES_PER_TOKEN = 4
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


class Admitted(NamedTuple):
    """The upstream that a call may go to now, and its place if the upstream has limits."""

    member: Member
    place: Place | None


def estimated_tokens(body: dict[str, Any]) -> int:
    """Pure: an estimate of the tokens of a prompt."""
    return len(msgspec.json.encode(body["messages"])) // _BYTES_PER_TOKEN


def used_tokens(tally: Tally, body: dict[str, Any], kept_deltas: int) -> int:
    """Pure: the tokens of a call that has ended, as reported, or else estimated."""
    counts = [(tally.usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
    if all(isinstance(count, int) and 0 <= count <= _MOST_TOKENS for count in counts):
        return sum(count for count in counts if isinstance(count, int))
    return estimated_tokens(body) + tally.deltas - kept_deltas
