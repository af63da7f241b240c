"""An API process whose pushes are lost, doubled or late, without a sign of it."""

import asyncio
import random
from typing import Any

from tickertape.broker.push import Listener, Push

_SHARE = 0.05
_LATE_S = 0.3


class _Lossy:
    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._rng = random.Random(1)

    def on_subscribed(self, channel: bytes) -> None:
        self._listener.on_subscribed(channel)

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        fate = self._rng.random()
        if fate < _SHARE:
            return
        if fate < 2 * _SHARE:
            asyncio.get_running_loop().call_later(
                _LATE_S, self._listener.on_pushed, channel, message
            )
            return
        self._listener.on_pushed(channel, message)
        if fate < 3 * _SHARE:
            self._listener.on_pushed(channel, message)


def lose_pushes() -> None:
    """Let every push connection of this process lose, double and delay 5 % of its pushes each."""
    whole = Push.__init__

    def lossy(self: Push, connections: Any, listener: Listener, **options: Any) -> None:
        whole(self, connections, _Lossy(listener), **options)

    Push.__init__ = lossy  # type: ignore[method-assign]
