"""Whether the client of a connection has left, although nothing of the connection is read."""

import asyncio
import select
import socket

# Without it (it is Linux only), the next heartbeat but one finds out, because its write fails.
_CLOSED_BY_PEER = getattr(select, "POLLRDHUP", 0)


def has_left(transport: asyncio.BaseTransport) -> bool:
    """True as soon as the client has closed its side, also behind bytes that nobody has read."""
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connected.fileno(), _CLOSED_BY_PEER)
    return bool(poll.poll(0))
