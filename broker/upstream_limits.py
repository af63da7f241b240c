"""Limits per minute of upstreams, over all workers.

Every method raises Unavailable, and may be repeated with equal arguments.
"""

from typing import NamedTuple

from tickertape.broker.connections import Connections
from tickertape.broker.lua import Scripts


class PerMinute(NamedTuple):
    """The most calls and the most tokens of one upstream in any 60 s; None for any number."""

    requests: int | None = None
    tokens: int | None = None


class UpstreamLimits:
    """Counts the calls of upstreams, which have names. A call is known by an id of its own."""

    def __init__(self, connections: Connections) -> None:
        self._keys = connections.keys
        self._scripts = Scripts(connections.commands)

    async def enter(self, name: str, call: str, limits: PerMinute, tokens: int) -> float | None:
        """Count a call that will use about so many tokens, and return None.

        If there is no room for the call, it is not counted, and the time in s until there may be
        room is returned.
        """
        word, details = await self._scripts.verdict(
            "enter_upstream",
            [self._keys.minute(name), self._keys.entered(name, call)],
            most_requests="" if limits.requests is None else limits.requests,
            most_tokens="" if limits.tokens is None else limits.tokens,
            tokens=tokens,
        )
        return int(details[0]) / 1000 if word == "RATE" else None

    async def leave(self, name: str, call: str, tokens: int) -> None:
        """Count the tokens that a call has used, in place of those that it was let in with."""
        await self._scripts.verdict(
            "leave_upstream",
            [self._keys.minute(name), self._keys.entered(name, call)],
            tokens=tokens,
        )
