"""One header of a call. Starlette's `Headers` of all of them takes ten times as long."""

from starlette.types import Scope


def header_of(scope: Scope, name: bytes) -> str | None:
    """The first header of a name, which is in lower case, as all names in a scope are."""
    for known, value in scope["headers"]:
        if known == name:
            return bytes(value).decode("latin-1")
    return None
