"""Checks that REDIS_URL leads to the kind of server that it says, which must be new enough."""

import contextlib
from typing import Any, Protocol

from redis.exceptions import ResponseError

from tickertape.broker.cluster import NotACluster
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable

# They came with Redis 7.0, as did the flags of scripts and the check of rights inside of scripts.
# Servers of other makers have other versions, so commands are asked for, and no version.
_COMMANDS_OF_REDIS_7 = ("SPUBLISH", "SSUBSCRIBE")
_NOT_A_CLUSTER = (
    "REDIS_URL begins with redis+cluster://, but its server is not part of a cluster:"
    " use redis://host:port (rediss:// with TLS)"
)
_A_CLUSTER = (
    "REDIS_URL names a node of a Redis Cluster as if it was one server:"
    " give several of its nodes as redis+cluster://host:port,host:port (rediss+cluster:// with TLS)"
)


class Server(Protocol):
    """What is asked: the server of REDIS_URL, or a cluster by any of its nodes."""

    @property
    def is_cluster(self) -> bool:
        """Whether REDIS_URL names a cluster."""
        ...

    async def ask(self, *command: str | bytes | float) -> Any:
        """The reply to one command."""
        ...

    async def learn_topology(self) -> None:
        """Ask a cluster which node owns which slots."""
        ...


async def check_server(server: Server) -> None:
    """Raise SettingsInvalid if REDIS_URL names a cluster as one server, or the reverse.

    Also if the server lacks the commands of Redis 7.0. Raises Unavailable. An account that may not
    ask passes: its server's first refusal says more.
    """
    if server.is_cluster:
        await _check_membership(server)
    about = await _hello(server)
    if not server.is_cluster and about.get(b"mode") == b"cluster":
        raise SettingsInvalid(_A_CLUSTER)
    if not await _knows_redis_7(server):
        raise SettingsInvalid(
            f"{_name(about)} has no {' and no '.join(_COMMANDS_OF_REDIS_7)}:"
            " use Redis 7.0 or newer, or Valkey"
        )


async def _check_membership(server: Server) -> None:
    try:
        await server.learn_topology()
    except Unavailable as error:
        if isinstance(error.__cause__, NotACluster):
            raise SettingsInvalid(_NOT_A_CLUSTER) from None
        raise


async def _hello(server: Server) -> dict[bytes, Any]:
    """What the server says about itself; empty for a server or a proxy that does not know HELLO."""
    with contextlib.suppress(AccessDenied, ResponseError):
        reply = await server.ask("HELLO")
        return dict(zip(reply[::2], reply[1::2], strict=True))
    return {}


async def _knows_redis_7(server: Server) -> bool:
    with contextlib.suppress(AccessDenied, ResponseError):
        # One word, because redis-py cannot read its own COMMAND if a command is unknown.
        known = await server.ask("COMMAND INFO", *_COMMANDS_OF_REDIS_7)
        return list(known) != [None] * len(_COMMANDS_OF_REDIS_7)
    return True


def _name(about: dict[bytes, Any]) -> str:
    name, version = about.get(b"server", b"this server"), about.get(b"version", b"")
    return b" ".join((name.capitalize(), version)).decode(errors="replace").strip()
