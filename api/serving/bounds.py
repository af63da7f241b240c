"""Pure: how much a caller may send, hold and leave unread, before anything is known of the caller.

The bounds hold on every route and for every call of a kept connection, because
`bounded_protocol.py` applies them to the bytes of the connection.
"""

from dataclasses import dataclass

from tickertape.runtime.networks import Networks, networks_of
from tickertape.runtime.settings import Settings

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    header_bytes: int
    headers: int
    head_s: float
    body_s: float
    body_stall_s: float
    unread_s: float
    body_slots: int
    bodies_bytes: int
    # What is read, and thrown away, of a body whose call has been answered.
    ignored_bytes: int
    # 0 for any number.
    address_connections: int
    proxies: Networks
    # In each period of `body_stall_s`, a body has to grow by this much or to end.
    stall_bytes: int = 4096
    # Sizes of chunks, their extensions and trailers. Beyond this, a body has to be as long.
    framing_bytes: int = 65_536
    # Calls that were sent without waiting for the answers to those before.
    pipelined: int = 16
    pipelined_bytes: int = 65_536
    # Connections that have not sent a whole head. The one that waited longest makes room.
    heads: int = 250
    # What all plain answers together hold for clients that do not read.
    unread_bytes: int = 64 * _MIB
    # How long a refused caller may read the refusal.
    linger_s: float = 2
    # How long a server that stops waits for a call on a connection that has just been opened.
    last_call_s: float = 0.5
    tick_s: float = 1


def bounds_from(settings: Settings) -> Bounds:
    """The bounds that the settings describe."""
    shortest = min(settings.head_s, settings.body_s, settings.body_stall_s, settings.unread_s)
    return Bounds(
        header_bytes=settings.max_header_bytes,
        headers=settings.max_headers,
        head_s=settings.head_s,
        body_s=settings.body_s,
        body_stall_s=settings.body_stall_s,
        unread_s=settings.unread_s,
        body_slots=settings.body_slots,
        bodies_bytes=settings.bodies_bytes,
        ignored_bytes=2 * settings.max_body_bytes,
        address_connections=settings.address_connections,
        proxies=networks_of(settings.trusted_proxies),
        tick_s=min(1.0, shortest / 4),
    )
