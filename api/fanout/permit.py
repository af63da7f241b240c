"""What a stream is open by: a key, a ticket or a token that may be taken back."""

from typing import Protocol
from weakref import WeakSet

from starlette.types import Scope

_NAME = "permit"


class Endable(Protocol):
    """An open stream."""

    def break_off(self) -> None:
        """End at once, in a way that does not look complete to the client."""
        ...

    def send_event(self, event: bytes) -> None:
        """Send an event that is no part of a log; it may be lost."""
        ...


class Permit:
    """The open streams of one key, ticket or token. A stream that is closed is forgotten.

    While a stream is open, the permit is in `held`, which keeps it. `ends_ms` is when the permit
    ends by itself, in ms of the wall clock; None if it does not.
    """

    def __init__(self, name: str, held: "set[Permit]", ends_ms: int | None = None) -> None:
        self.name = name
        self.ends_ms = ends_ms
        self._held = held
        self._is_over = False
        self._streams: WeakSet[Endable] = WeakSet()
        self._listening: WeakSet[Endable] = WeakSet()

    @property
    def is_over(self) -> bool:
        """Whether `end` was called."""
        return self._is_over

    @property
    def is_used(self) -> bool:
        """Whether a stream is open by this permit."""
        return bool(self._streams)

    def hold(self, stream: Endable, *, takes_events: bool) -> None:
        """End this stream together with the permit; `takes_events` says that `tell` reaches it."""
        self._streams.add(stream)
        if takes_events:
            self._listening.add(stream)
        self._held.add(self)
        if self._is_over:
            stream.break_off()

    def tell(self, event: bytes) -> None:
        """Send an event on the streams that take events."""
        for stream in list(self._listening):
            stream.send_event(event)

    def end(self) -> None:
        """End every stream that is open by this permit, and those that follow."""
        self._is_over = True
        for stream in list(self._streams):
            stream.break_off()


def set_permit(scope: Scope, permit: Permit | None) -> None:
    """Let the streams of a call end together with a permit."""
    scope.setdefault("state", {})[_NAME] = permit


def permit_of(scope: Scope) -> Permit | None:
    """The permit of a call; None if nothing can take its streams back."""
    permit: Permit | None = scope.get("state", {}).get(_NAME)
    return permit
