"""The mark in Redis of the upstream that `tickertape up` submits this Redis's requests to."""

import msgspec

from tickertape.broker.connections import Connections


class _Mark(msgspec.Struct):
    name: str
    label: str


async def mark_upstream(
    connections: Connections, name: str, label: str, *, replaces: bool = False
) -> str | None:
    """Mark this Redis with an upstream; None if it has this upstream's mark now.

    If it has the mark of another upstream, the label of that one is returned and the mark stays,
    unless `replaces`. The values must contain no secret. Raises Unavailable.
    """
    mark = msgspec.json.encode(_Mark(name, label))
    await connections.ask("SET", connections.keys.upstream(), mark, *([] if replaces else ["NX"]))
    stored = await connections.ask("GET", connections.keys.upstream())
    known = msgspec.json.decode(stored or mark, type=_Mark)
    return None if known.name == name else known.label
