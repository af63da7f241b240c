"""A primary and its replica, behind an address that leads clients to one of them."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from redis.asyncio import Redis

from tests.support.keyspace import KEYS
from tests.support.proxy import FaultProxy
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.wait import wait_until


@dataclass
class Pair:
    """A primary and its replica. Clients use `url`, which leads to the current primary."""

    primary: ValkeyServer
    replica: ValkeyServer
    front: FaultProxy
    link: FaultProxy

    @property
    def url(self) -> str:
        return self.primary.url.replace(f":{self.primary.port}/", f":{self.front.port}/")

    @property
    def password(self) -> str:
        return self.primary.url.removeprefix("redis://:").partition("@")[0]

    async def cut_link(self) -> None:
        """Cut the replication without a sign to either side."""
        self.link.is_blackhole = True

    async def has(self, request_id: str, length: int) -> None:
        """Wait until the replica has `count` entries of a log."""
        async with aclosing(Redis.from_url(self.replica.url)) as replica:

            async def does() -> bool:
                entries: int = await replica.xlen(KEYS.log(request_id))
                return entries == length

            await wait_until(does, description=f"the replica to have {length} entries")

    async def fail_over(self) -> None:
        """The primary dies, the replica is promoted, and clients are led there."""
        self.primary.kill()
        async with aclosing(Redis.from_url(self.replica.url)) as replica:
            await replica.replicaof("NO", "ONE")
            await replica.config_set("requirepass", self.password)
        self.front.lead_to(self.replica.port)

    async def demote_primary(self) -> None:
        """Planned: the replica becomes the primary, and the primary its replica.

        The old primary keeps the connections it has.
        """
        async with (
            aclosing(Redis.from_url(self.primary.url)) as old,
            aclosing(Redis.from_url(self.replica.url)) as new,
        ):
            await old.wait(1, 1000)
            await new.replicaof("NO", "ONE")
            await new.config_set("requirepass", self.password)
            await old.config_set("masterauth", self.password)
            await old.replicaof("127.0.0.1", str(self.replica.port))

    async def hand_over(self) -> None:
        """Demote the primary, and lead only new connections to the new one."""
        await self.demote_primary()
        self.front.lead_new_to(self.replica.port)


@asynccontextmanager
async def server_pair() -> AsyncIterator[Pair]:
    """Both servers, in sync, for the length of the block."""
    with valkey_server(append_only=True) as primary:
        password = primary.url.removeprefix("redis://:").partition("@")[0]
        async with FaultProxy(primary.port) as front, FaultProxy(primary.port) as link:
            follows = {"replicaof": f"127.0.0.1 {link.port}", "masterauth": password}
            with valkey_server(settings=follows) as replica:
                yield Pair(primary, replica, front, link)
