"""The permits of one process: by which keys, tickets and tokens its streams are open."""

from collections.abc import Iterable
from typing import TypeVar
from weakref import WeakValueDictionary

from tickertape.api.fanout.permit import Permit

Kind = TypeVar("Kind", bound=Permit)


class Permits:
    """One permit for each key, ticket or token that a call in progress or an open stream uses."""

    def __init__(self) -> None:
        # A call in progress holds its permit by itself; a permit with open streams is held here.
        self._known: WeakValueDictionary[str, Permit] = WeakValueDictionary()
        self._held: set[Permit] = set()

    def get(self, name: str, ends_ms: int | None = None) -> Permit:
        """The permit of this name, made if there is none; `ends_ms` is when it ends by itself."""
        return self.get_as(Permit, name, ends_ms)

    def get_as(self, kind: type[Kind], name: str, ends_ms: int | None = None) -> Kind:
        """As `get`, of a kind that belongs to such names."""
        permit = self._known.get(name)
        if not isinstance(permit, kind) or permit.is_over:
            permit = self._known[name] = kind(name, self._held, ends_ms)
        return permit

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The permits of a kind."""
        return [permit for permit in self._known.values() if isinstance(permit, kind)]

    def named(self, prefix: str) -> list[str]:
        """The names of the permits that begin with a prefix."""
        return [name for name in self._known if name.startswith(prefix)]

    def end(self, names: Iterable[str]) -> None:
        """End these permits, and with them their streams."""
        for name in names:
            if (permit := self._known.get(name)) is not None:
                permit.end()

    def end_expired(self, now_ms: int) -> None:
        """End the permits whose time has passed, and let go of those without streams."""
        for permit in list(self._known.values()):
            if permit.ends_ms is not None and permit.ends_ms <= now_ms:
                permit.end()
        for permit in [each for each in self._held if not each.is_used]:
            self._held.discard(permit)
