"""Whether the account in REDIS_URL may do all that any process of ours will ask of Redis.

Asked at each start and by each probe: what an account may do can change while a process runs. Redis
itself is asked, so that rules, renamed commands and patterns of keys and channels all count.
"""

from tickertape.broker import keys
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied
from tickertape.broker.lua import Scripts

_MOST_NAMED = 8


class Rights:
    """Asks for the rights of one account; reads no key and changes nothing."""

    def __init__(self, connections: Connections, partitions: int) -> None:
        self._scripts = Scripts(connections.commands)
        # A pattern of keys covers the first and the last partition, or it does not cover them all.
        self._tags = sorted({keys.tag(0), keys.tag(partitions - 1)})

    async def missing(self) -> list[str]:
        """What the account may not do, in words; raises AccessDenied when it may not even ask."""
        found = await self._scripts.call("probe", [], *self._tags)
        return [refusal.decode() for refusal in found]

    async def check(self) -> None:
        """Raise AccessDenied naming what the account may not do; Unavailable without an answer."""
        missing = await self.missing()
        if missing:
            raise AccessDenied(f"Redis denies access: this account may not run {_listed(missing)}")


def _listed(missing: list[str]) -> str:
    more = len(missing) - _MOST_NAMED
    named = ", ".join(missing[:_MOST_NAMED])
    return f"{named} and {more} more" if more > 0 else named
