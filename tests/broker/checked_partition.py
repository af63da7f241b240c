"""One partition as a test sees it: every invariant is checked after each script."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from redis.asyncio import Redis

from tests.broker.invariants import log_of, violations
from tests.broker.promises import check_tokens
from tests.broker.snapshot import Snapshot, take_snapshot
from tickertape.broker.lua import Scripts
from tickertape.broker.script_header import Argument

TAG = "{p0}:"

Reply = tuple[str | int, ...]


class Go(NamedTuple):
    """What a claim that got something answers."""

    id: str
    attempt: int
    n: int
    opener: str
    prev: str
    payload: str
    crashes: int
    retries: int
    conv: str
    tenant: str
    pool: str = ""


class CheckedPartition:
    """Calls scripts, tells what is stored, and lets time pass."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.max_crashes = 3
        self._scripts = Scripts(client)
        self._nonces = 0
        # Whether workers are subscribed, so that one of them is woken in place of a token.
        self.has_listeners = False
        # Whether erasures reach a history, 0 or 1.
        self.has_history = 0
        # What the last claim that got something said of the next.
        self.next_ms = 0

    async def call(
        self, name: str, keys: list[str], /, *values: bytes | str, **arguments: Argument
    ) -> Reply:
        """The reply of a script; fails when the script leaves anything wrong behind."""
        reply = await self._scripts.call(name, keys, *values, **arguments)
        now = await self.snapshot()
        problems = violations(now)
        assert not problems, "\n".join(problems)
        if name == "claim" and not self.has_listeners:
            check_tokens(reply, now)
        return tuple(part.decode() if isinstance(part, bytes) else part for part in reply)

    async def snapshot(self) -> Snapshot:
        return await take_snapshot(self.client)

    @asynccontextmanager
    async def unchanged(self) -> AsyncIterator[None]:
        """Fails when the block leaves any trace."""
        before = await self.snapshot()
        yield
        assert await self.snapshot() == before

    async def state(self, id_: str) -> str:
        return (await self.snapshot()).hash(f"req:{id_}").get("state", "missing")

    async def field(self, id_: str, name: str) -> str | None:
        return (await self.snapshot()).hash(f"req:{id_}").get(name)

    async def log(self, id_: str) -> list[str]:
        """The kinds of a log's entries; a delta as its text in quotes."""
        entries = log_of(await self.snapshot(), id_)
        return [f"'{e.text}'" if e.kind == "delta" else e.kind for e in entries]

    async def end_lease(self, *gone: Go) -> None:
        """Let leases have run out, the first one given longest ago."""
        for order, go in enumerate(gone):
            changed = await self.client.zadd(f"{TAG}running", {go.id: 1 + order}, xx=True, ch=True)
            assert changed == 1, f"{go.id} has no lease"

    async def make_due(self, *ids: str) -> None:
        """Let delays be over, the first one given longest ago."""
        for order, id_ in enumerate(ids):
            changed = await self.client.zadd(f"{TAG}delayed", {id_: 1 + order}, xx=True, ch=True)
            assert changed == 1, f"{id_} is not delayed"

    async def tokens(self) -> int:
        return len((await self.snapshot()).list("wake"))

    async def drain_tokens(self) -> None:
        """Take every token, as workers do when they wake."""
        await self.client.delete(f"{TAG}wake")
