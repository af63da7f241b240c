"""What can be learned about the Redis of a deployment without changing anything in it."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tickertape.broker.agreement import read_agreed
from tickertape.broker.connections import Connections
from tickertape.broker.erasures import Erasures
from tickertape.broker.errors import AccessDenied, WritesRefused
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.queue_depth import QueueDepth, read_queue_depth
from tickertape.broker.redis_errors import REFUSES_WRITES
from tickertape.broker.rights import Rights


@dataclass(frozen=True)
class ServerFacts:
    """What the server said. None, or empty, is what this account may not ask.

    `info` is the reply to INFO, and `config` has the settings of the server in `_CONFIG`. `refusal`
    is the server's word for why it takes no writes. `may_rewrite` is whether the account may have
    the append-only file rewritten.
    """

    primary: str | None = None
    info: Mapping[str, Any] | None = None
    config: Mapping[str, str] = field(default_factory=dict)
    refusal: str | None = None
    missing_rights: tuple[str, ...] = ()
    may_rewrite: bool | None = None
    partitions: PartitionMap | None = None
    agreed: Mapping[str, str] = field(default_factory=dict)
    newer: int = 0
    queue: QueueDepth | None = None
    owners: Mapping[str, list[int]] = field(default_factory=dict)


_CONFIG = ("client-output-buffer-limit",)


async def read_start_facts(connections: Connections) -> ServerFacts:
    """The facts that every start looks at; raises Unavailable, AccessDenied and SettingsInvalid."""
    await connections.ask("PING")
    await connections.check_server()
    return ServerFacts(
        primary=await connections.primary(),
        info=await _info(connections),
        config=await _config(connections),
        partitions=await _partitions(connections),
        agreed=await _agreed(connections),
    )


async def read_server_facts(connections: Connections) -> ServerFacts:
    """All facts; raises as `read_start_facts` does."""
    facts = await read_start_facts(connections)
    missing, refusal = await _rights(connections)
    return ServerFacts(
        primary=facts.primary,
        info=facts.info,
        config=facts.config,
        refusal=refusal,
        missing_rights=missing,
        may_rewrite=await _may_rewrite(connections),
        partitions=facts.partitions,
        agreed=facts.agreed,
        newer=await _newer(connections),
        queue=await _queue(connections),
        owners=_owners(connections),
    )


async def _info(connections: Connections) -> Mapping[str, Any] | None:
    with contextlib.suppress(AccessDenied):
        info: Mapping[str, Any] = await connections.ask("INFO")
        return info
    return None


async def _config(connections: Connections) -> Mapping[str, str]:
    found: dict[str, str] = {}
    with contextlib.suppress(AccessDenied):
        for name in _CONFIG:
            reply = await connections.ask("CONFIG GET", name)
            found |= {_text(key): _text(value) for key, value in reply.items()}
    return found


async def _rights(connections: Connections) -> tuple[tuple[str, ...], str | None]:
    """The missing rights, and why writes are refused. A refused write hides missing rights."""
    try:
        return tuple(await Rights(connections).missing()), None
    except WritesRefused as refused:
        return (), str(refused).removeprefix(REFUSES_WRITES)


async def _may_rewrite(connections: Connections) -> bool | None:
    with contextlib.suppress(AccessDenied, WritesRefused):
        return await Erasures(connections).may_rewrite()
    return None


async def _partitions(connections: Connections) -> PartitionMap | None:
    with contextlib.suppress(AccessDenied):
        return await connections.partitions.refresh()
    return None


async def _agreed(connections: Connections) -> Mapping[str, str]:
    with contextlib.suppress(AccessDenied):
        return await read_agreed(connections)
    return {}


async def _newer(connections: Connections) -> int:
    keys, served = connections.keys, connections.partitions.served
    with contextlib.suppress(AccessDenied):
        pools = await connections.ask_all([("SMEMBERS", keys.pools(n)) for n in range(served)])
        lists = [
            keys.newer(n, pool)
            for n, found in enumerate(pools)
            for pool in (UPSTREAM, *(each.decode() for each in found))
        ]
        return sum(await connections.ask_all([("ZCARD", name) for name in lists]))
    return 0


async def _queue(connections: Connections) -> QueueDepth | None:
    with contextlib.suppress(AccessDenied):
        return await read_queue_depth(connections)
    return None


def _owners(connections: Connections) -> dict[str, list[int]]:
    """Which node of a cluster has which partitions; the check of the rights has asked for that."""
    owners: dict[str, list[int]] = {}
    if connections.is_cluster:
        for partition in range(connections.partitions.served):
            node = connections.node_of(partition)
            name = f"{node.host}:{node.port}" if node else "no node"
            owners.setdefault(name, []).append(partition)
    return owners


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
