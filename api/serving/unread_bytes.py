"""Whether a connection has bytes that the event loop has not read yet."""

import asyncio
import select
import socket


def has_unread_bytes(transport: asyncio.BaseTransport) -> bool:
    """True also for a connection that the client has closed, of which the loop will hear."""
    connected: socket.socket | None = transport.get_extra_info("socket")
    if connected is None or connected.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connected.fileno(), select.POLLIN)
    return bool(poll.poll(0))
