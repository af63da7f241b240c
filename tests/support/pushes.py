"""Pushes that are lost on a healthy connection."""

import contextlib
from collections.abc import Iterator

from tickertape.api.fanout.hub import Hub


class Deaf:
    """Forwards acknowledgements and drops pushes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_subscribed(self, channel: bytes) -> None:
        self._hub.on_subscribed(channel)

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Drop the push."""


@contextlib.contextmanager
def lost_pushes(hub: Hub) -> Iterator[None]:
    """Drop a hub's pushes for the length of the block."""
    hub._push._channels.listener = Deaf(hub)
    try:
        yield
    finally:
        hub._push._channels.listener = hub
