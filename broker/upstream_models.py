"""The upstream's model list: workers write the list, the API reads it, and it expires."""

from typing import Any

import msgspec

from tickertape.broker.connections import Connections

MODELS_TTL_S = 300


async def write_models(connections: Connections, models: list[dict[str, Any]]) -> None:
    """Publish the upstream's models for MODELS_TTL_S; raises Unavailable."""
    await connections.ask(
        "SET", connections.keys.models(), msgspec.json.encode(models), "EX", MODELS_TTL_S
    )
    await connections.ask("DEL", connections.keys.models_fault())


async def write_models_fault(connections: Connections, reason: str, ttl_s: int) -> None:
    """Publish for `ttl_s` why a worker cannot read the model list; raises Unavailable."""
    await connections.ask("SET", connections.keys.models_fault(), reason, "EX", ttl_s)


async def read_models_fault(connections: Connections) -> str | None:
    """Why a worker cannot read the model list; None without a fault. Raises Unavailable."""
    stored = await connections.ask("GET", connections.keys.models_fault())
    return None if stored is None else stored.decode()


async def read_models(connections: Connections) -> list[dict[str, Any]] | None:
    """The upstream's models; None when no worker has written them lately. Raises Unavailable."""
    stored = await connections.ask("GET", connections.keys.models())
    return None if stored is None else msgspec.json.decode(stored, type=list[dict[str, Any]])
