"""Checks whether the account in REDIS_URL has all the rights that Tickertape's processes need.

Each start and each probe makes this check, because the rights of an account can change while a
process runs. Redis itself answers, so rules, renamed commands and patterns of keys and channels all
count.
"""

import re

from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied
from tickertape.broker.lua import Scripts

_MOST_NAMED = 8
# The words of Redis 7.0, and those of later versions and of Valkey.
_OF_A_KEY = re.compile("access (a key|one of the keys)")


class Rights:
    """Checks the rights of one account; reads no key and changes nothing."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._scripts = Scripts(connections.commands)
        self._writes = connections.writes

    async def missing(self) -> list[str]:
        """The missing rights in words; raises AccessDenied when the account may not even check.

        Raises SettingsInvalid as `Connections.check_server` does. Each node of a cluster has its
        own list of accounts, so each is asked.
        """
        await self._connections.check_server()
        found: dict[str, None] = {}
        await self._connections.learn_topology()
        for ring in self.ring_of_each_node().values():
            found |= dict.fromkeys(await self._probe(ring))
        # Redis refuses this script where it refuses a write, because the script has flags.
        self._writes.accepted()
        return list(found)

    async def _probe(self, ring: str) -> list[str]:
        try:
            refusals = await self._scripts.call("probe", [ring], *self._tags())
        except AccessDenied as denial:
            if not _OF_A_KEY.search(str(denial)):
                raise
            # The ring is the only key of the call, and Redis does not name the key.
            return [f"EVALSHA on {ring}*"]
        return [refusal.decode() for refusal in refusals]

    def _tags(self) -> list[str]:
        # A pattern of keys that covers the first and the last partition covers all partitions.
        keys, last = self._connections.keys, self._connections.partitions.served - 1
        return sorted({keys.tag(0), keys.tag(last)})

    def ring_of_each_node(self) -> dict[str, str]:
        """The key of a ring at each node, by host and port as they were last learned.

        One server has no name here.
        """
        nodes = {
            self._connections.node_of(n): n
            for n in reversed(range(self._connections.partitions.served))
        }
        is_cluster = self._connections.is_cluster
        names = {
            n: f"{node.host}:{node.port}" if node else f"of partition {n}"
            for node, n in nodes.items()
        }
        return {
            names[n] if is_cluster else "": self._connections.keys.ring(n) for n in nodes.values()
        }

    async def check_at(self, ring: str) -> None:
        """As `check`, of the node that has this ring."""
        _refuse(await self._probe(ring))

    async def check(self) -> None:
        """Raise AccessDenied naming the missing rights, WritesRefused where a write would fail.

        Unavailable when Redis does not answer.
        """
        _refuse(await self.missing())


def _refuse(missing: list[str]) -> None:
    if missing:
        raise AccessDenied(f"Redis denies access: this account may not run {_listed(missing)}")


def _listed(missing: list[str]) -> str:
    more = len(missing) - _MOST_NAMED
    named = ", ".join(missing[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named
