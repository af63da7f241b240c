"""Takes erased texts out of Redis' append-only file, by a rewrite of that file.

Redis appends each write to the file, and an erasure is one more write: what was erased stays in the
file until the server writes the file again from its memory. The scripts that erase count their
erasures, and a rewrite that began after the last of them has none of the erased texts.
"""

import asyncio
from typing import Any, Self

from redis.exceptions import ResponseError

from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, Unavailable
from tickertape.broker.lua import Scripts
from tickertape.broker.redis_errors import in_time, is_denial

_POLL_S = 0.2
# A file of many GB takes minutes.
REWRITE_LIMIT_S = 1800.0
_COMMAND_LIMIT_S = 10.0
_NO_RIGHT = (
    "erased texts stay in the append-only file of Redis, because the account in REDIS_URL may not"
    " run INFO and BGREWRITEAOF: grant both, or set TICKERTAPE_REWRITE_AOF_S=0"
)


class Erasures:
    """The erasures of each partition, and the rewrites that follow them."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._keys = connections.keys

    async def pending(self, partition: int) -> int | None:
        """The count of erasures if the file has not been rewritten since; raises Unavailable."""
        count, rewritten = await self._connections.ask(
            "HMGET", self._keys.erasures(partition), "count", "rewritten"
        )
        return None if count is None or count == rewritten else int(count)

    async def may_rewrite(self) -> bool:
        """Whether the account has the rights for `rewrite`; raises AccessDenied and Unavailable."""
        scripts = Scripts(self._connections.commands)
        return bool(await scripts.call("may_rewrite", [self._keys.erasures(0)]))

    async def take_turn(self, partition: int, every_s: float) -> bool:
        """Whether the caller may rewrite now; nobody else may for `every_s`. Raises Unavailable."""
        taken = await self._connections.ask(
            "SET", self._keys.rewriting(partition), "1", "NX", "PX", max(1, int(every_s * 1000))
        )
        return taken is not None

    async def rewrite(self, partition: int, count: int) -> bool:
        """Have the server of a partition rewrite its file, and wait for the end.

        `count` is the result of `pending` before this call. Returns False if the server writes no
        such file. Raises AccessDenied without the right, and Unavailable.
        """
        async with _Server(self._connections, partition) as server:
            about = await server.until_idle()
            is_on = about.get("aof_enabled") == "1"
            if is_on:
                await server.ask("BGREWRITEAOF")
                about = await server.until_idle()
                if about.get("aof_last_bgrewrite_status") != "ok":
                    raise Unavailable("Redis could not rewrite its append-only file.")
        await self._connections.ask("HSET", self._keys.erasures(partition), "rewritten", count)
        return is_on


class _Server:
    """A connection to the server that has a partition; an async context manager."""

    def __init__(self, connections: Connections, partition: int) -> None:
        self._connection = connections.unpooled(connections.node_of(partition))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._connection.disconnect(nowait=True)

    async def ask(self, *command: str) -> Any:
        """The reply to a command; raises AccessDenied and Unavailable."""
        async with in_time(_COMMAND_LIMIT_S):
            try:
                await self._connection.send_command(*command)
                return await self._connection.read_response()
            except ResponseError as error:
                if is_denial(error):
                    raise AccessDenied(_NO_RIGHT) from None
                raise Unavailable from None

    async def until_idle(self) -> dict[str, str]:
        """What the server says about its files, once it rewrites none. Raises Unavailable."""
        try:
            async with asyncio.timeout(REWRITE_LIMIT_S):
                while True:
                    about = _fields(await self.ask("INFO", "persistence"))
                    if "1" not in {
                        about.get("aof_rewrite_in_progress"),
                        about.get("aof_rewrite_scheduled"),
                    }:
                        return about
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise Unavailable from None


def _fields(reply: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in reply.decode(errors="replace").splitlines())
    return {name: value for name, colon, value in pairs if colon}
