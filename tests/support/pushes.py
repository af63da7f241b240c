"""Pushes that do not arrive, while their connection is as well as ever."""

import contextlib
from collections.abc import Iterator

from tickertape.api.fanout.hub import Hub


class Deaf:
    """Hears acknowledgements and no pushes."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def on_subscribed(self, channel: bytes) -> None:
        self._hub.on_subscribed(channel)

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Lost."""


@contextlib.contextmanager
def lost_pushes(hub: Hub) -> Iterator[None]:
    """Let a hub hear no pushes for the length of the block."""
    hub._pushes[0]._listener = Deaf(hub)
    try:
        yield
    finally:
        hub._pushes[0]._listener = hub
