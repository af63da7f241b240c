"""Tickertape: an append-only log for each LLM request, which any number of clients can read live.

The packages below are folders of the repository's top level, linked here so that all of them are
imported under one name: `tickertape.api`, `tickertape.worker`, `tickertape.broker`,
`tickertape.roles`, `tickertape.client`, `tickertape.cli` and `tickertape.runtime`.

`tickertape.Client` and the other names of `tickertape.client` are imported when they are first
used, so that a server does not load them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tickertape.client import AsyncClient as AsyncClient
    from tickertape.client import Client as Client
    from tickertape.client import TickertapeError as TickertapeError

__all__ = ["AsyncClient", "Client", "TickertapeError"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tickertape import client  # noqa: PLC0415  # see the docstring

    return getattr(client, name)
