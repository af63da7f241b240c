"""Whether the client of a call has left, for calls that wait before they answer."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive, Scope

from tickertape.api.fanout.stream_response import until_gone

LEAVING = "tickertape.leaving"
"""The entry of a scope in which a server offers a Leaving."""


class Leaving(Protocol):
    """Knows whether a client has left, from `listen` on."""

    @property
    def has_left(self) -> bool:
        """Whether the client has left."""
        ...

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when the client leaves, or soon after it has left. The body must be read."""
        ...

    async def stop(self) -> None:
        """Call `wake` no more."""
        ...


def leaving_of(scope: Scope, receive: Receive) -> Leaving:
    """What the server of a call offers, which costs no task; otherwise a task that receives."""
    offered: Leaving | None = scope.get(LEAVING)
    return offered if offered is not None else _Receiving(receive)


class _Receiving:
    """Asks the server in the way of ASGI."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task: asyncio.Task[None] | None = None

    @property
    def has_left(self) -> bool:
        return self._task is not None and self._task.done()

    def listen(self, wake: Callable[[], None]) -> None:
        self._task = asyncio.create_task(until_gone(self._receive), name="waiting: client")
        self._task.add_done_callback(lambda _: wake())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
