"""Counts what still needs an earlier partition map. Reads every key of the system once."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from tickertape.broker.cluster import Node
from tickertape.broker.connections import Connections
from tickertape.broker.keys import partition_of_name
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.redis_errors import failures_mapped

_KEYS_AT_ONCE = 1000


@dataclass
class Leftovers:
    """What is where only an earlier map finds it."""

    requests: int = 0
    conversations: int = 0
    idempotency_keys: int = 0
    others: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether the map is needed no more."""
        return not (self.requests or self.conversations or self.idempotency_keys or self.others)

    def describe(self) -> str:
        """The counts in words."""
        counts = {
            "requests": self.requests,
            "conversations": self.conversations,
            "idempotency keys": self.idempotency_keys,
            "other keys": self.others,
        }
        return ", ".join(f"{n} {name}" for name, n in counts.items() if n) or "nothing"


async def find_leftovers(connections: Connections, present: PartitionMap) -> dict[int, Leftovers]:
    """What needs each earlier map, by its number of partitions; raises Unavailable.

    One pass over all keys of all nodes, in steps of 1000, so that other clients are served between
    them. A key that was created during the pass may be missed.
    """
    left = {count: Leftovers() for count in present.old}
    if not left:
        return left
    keys = connections.keys
    prefix = keys.tag(0).partition("p0")[0].encode()
    await connections.learn_topology()
    for node in {connections.node_of(n) for n in range(present.served)}:
        async for names in _scan(connections, node, prefix):
            conversations = await _conversations_of_keys(connections, names)
            for name in names:
                _count(name, present, left, conversations)
    return left


def _count(
    name: bytes,
    present: PartitionMap,
    left: dict[int, Leftovers],
    conversations: Mapping[bytes, str],
) -> None:
    partition, kind, rest = _parts(name)
    needing = [each for count, each in left.items() if partition < count]
    if kind in {"conv", "idem"}:
        affinity = conversations.get(name) or rest
        if ":" in rest or int(affinity, 16) % present.partitions == partition:
            return
        needing = [each for count, each in left.items() if int(affinity, 16) % count == partition]
    elif partition < present.partitions or kind in _TRACES:
        return
    for each in needing:
        if kind == "conv":
            each.conversations += 1
        elif kind == "idem":
            each.idempotency_keys += 1
        elif kind == "req":
            each.requests += 1
        elif kind != "log":
            each.others += 1


# Keys that stay behind in a partition that is no longer used, and mean nothing there.
_TRACES = frozenset(
    {
        "load",
        "epoch",
        "idle",
        "pools",
        "wake",
        "watch",
        "claim",
        "dead",
        "newer",
        "uncompacted",
        "seats",
        "outboxed",
        "given_up",
    }
    | {"busy", "owed", "crowd", "weights", "rates", "unsettled", "settled", "kept", "aging"}
)


def _parts(name: bytes) -> tuple[int, str, str]:
    """The partition of a key, its kind, and what follows the kind."""
    kind, _, rest = name.decode(errors="replace").partition("}:")[2].partition(":")
    return partition_of_name(name), kind, rest


async def _conversations_of_keys(connections: Connections, names: list[bytes]) -> dict[bytes, str]:
    """The conversations to which idempotency keys belong; those without one are not listed."""
    idempotency_keys = [name for name in names if _parts(name)[1] == "idem"]
    if not idempotency_keys:
        return {}
    values = await connections.ask_all([("GET", name) for name in idempotency_keys])
    named = {
        name: value.decode().rpartition("|")[2]
        for name, value in zip(idempotency_keys, values, strict=True)
        if value is not None
    }
    if not named:
        return {}
    found = await connections.ask_all(
        [("HGET", connections.keys.request(request_id), "conv") for request_id in named.values()]
    )
    return {
        name: conversation.decode()
        for name, conversation in zip(named, found, strict=True)
        if conversation
    }


async def _scan(
    connections: Connections, node: Node | None, prefix: bytes
) -> AsyncIterator[list[bytes]]:
    connection = connections.unpooled(node)
    try:
        with failures_mapped():
            await connection.connect()  # type: ignore[no-untyped-call]  # bare in redis-py
        cursor = b"0"
        while True:
            with failures_mapped():
                await connection.send_command(
                    "SCAN", cursor, "MATCH", prefix + b"p*", "COUNT", _KEYS_AT_ONCE
                )
                cursor, names = await connection.read_response()
            yield [name for name in names if _is_of(connections, name)]
            if cursor == b"0":
                return
    finally:
        await connection.disconnect()


def _is_of(connections: Connections, name: bytes) -> bool:
    """Whether a key belongs to this system, and not to one with another namespace."""
    try:
        partition = partition_of_name(name)
    except ValueError:
        return False
    return name.startswith(connections.keys.tag(partition).encode())
