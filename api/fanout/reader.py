"""Whose reading a response is, as the fan-out reports it to the limits of readers."""

from typing import Protocol

from starlette.types import Scope

_NAME = "reader"


class Reader(Protocol):
    """What counts the open streams of a caller, and the bytes of the past that it reads."""

    def took(self, connection: object) -> None:
        """Count a connection that outlives its call, as long as the object lives."""
        ...

    def replayed(self, size: int) -> None:
        """Count bytes of the past, in place of all bytes of this call's response."""
        ...


def set_reader(scope: Scope, reader: Reader) -> None:
    """Let the streams of a call be counted by this reader."""
    scope.setdefault("state", {})[_NAME] = reader


def reader_of(scope: Scope) -> Reader | None:
    """The reader of a call; None if nothing counts it."""
    reader: Reader | None = scope.get("state", {}).get(_NAME)
    return reader
