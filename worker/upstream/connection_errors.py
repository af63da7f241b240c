"""Pure: what an error of the SDK's HTTP layer says about the connection."""

import aiohttp

from tickertape.worker.upstream.errors import Unreachable


class HungUp(Unreachable):
    """The upstream closed the connection instead of answering.

    Most likely, it closed a kept connection at the moment when the connection was used again.
    llama.cpp closes its connection after every stream.
    """

    cause = "connection"

    def __init__(self) -> None:
        super().__init__("The upstream closed the connection instead of answering.")


def unreachable(error: Exception) -> Unreachable:
    """The error for a connection that could not be made, or that was lost."""
    # The SDK's HTTP layer reports both as a time-out. The aiohttp error below it is more exact.
    cause = _cause_of(error, aiohttp.ClientError)
    lost = isinstance(cause, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
    had_connected = not isinstance(cause, aiohttp.ClientConnectorError)
    return HungUp() if lost and had_connected else Unreachable()


def _cause_of(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first error of a kind among an error and its causes."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, kind):
        cause = cause.__cause__
    return cause
