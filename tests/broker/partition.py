"""One partition, driven script by script: readable calls, and every invariant after each."""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from redis.asyncio import Redis

from tests.broker.invariants import log_of, violations
from tests.broker.promises import check_tokens, settled
from tests.broker.snapshot import Snapshot, take_snapshot
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.kinds import Terminal
from tickertape.broker.lua import Scripts
from tickertape.broker.script_header import Argument

TAG = "{p0}:"
RING = TAG + "ring"
RETENTION_S = 3600
CONVERSATION_TTL_S = 7200
# So long that no test sees a lease end by itself: they end when a test says so.
LEASE_MS = 600_000
LIMITS: dict[str, int | str] = {
    "queue_limit": 1000,
    "tenant_limit": 1000,
    "queue_bytes": 1_000_000,
    "tenant_bytes": 1_000_000,
    "user_limit": "",
}
KEEP = {"retention_s": RETENTION_S, "conversation_ttl_s": CONVERSATION_TTL_S}

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


class Empty(NamedTuple):
    """What a claim that got nothing answers."""

    due_ms: int


def deltas(*texts: str) -> list[bytes]:
    """Values of deltas."""
    return [encode_text("delta", text) for text in texts]


def terminal(state: Terminal) -> bytes:
    """The value of a terminal."""
    return encode_data(state, {})


class Partition:
    """Calls scripts with short ids, which are enough for them, and plain defaults."""

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

    async def submit(
        self,
        id_: str,
        tenant: str = "t",
        *,
        payload: str = "{}",
        policy: str = "restart",
        idem: str = "",
        fingerprint: str = "f",
        conv: str = "",
        on_busy: str = "queue",
        model: str = '"m"',
        links: str = "",
        max_turns: int = 400,
        format_: int = 1,
        epoch: int = 0,
        must_be_known: bool = False,
        weight: str = "",
        rates: str = "",
        tries: str = "",
        is_retry: bool = False,
        kept_limit: str = "",
        trace: str = "",
        pool: str = "",
        outbox: str = "",
        **limits: int | str,
    ) -> Reply:
        return await self.call(
            "submit",
            [RING],
            request_id=id_,
            fingerprint=fingerprint,
            tenant=tenant,
            payload=payload,
            policy=policy,
            idempotency=idem,
            conversation=conv,
            on_busy=on_busy,
            model=model,
            queued=encode_data("queued", {"v": 1}),
            head="{}",
            question='["asked"]' if conv else "",
            links=links,
            conversation_turns=max_turns,
            title="a title" if conv else "",
            summary='{"conversation_id":"c"}' if conv else "",
            format=format_,
            epoch=epoch,
            must_be_known=int(must_be_known),
            keep_s="",
            conversation_keep_s="",
            tenant_keep_s="",
            weight=weight,
            rates=rates,
            settled=settled(rates),
            input_tokens=10,
            tries=tries,
            is_retry=int(is_retry),
            home="",
            kept_limit=kept_limit,
            trace=trace,
            pool=pool,
            outbox=outbox,
            **KEEP,
            **(LIMITS | limits),
        )

    async def claim(
        self,
        worker: str = "w",
        nonce: str | None = None,
        *,
        lease_ms: int = LEASE_MS,
        can_continue: bool = False,
        take: bool = True,
        suspect_ok: bool = True,
        stays_idle: bool = True,
        reachable_ms: int = 0,
        budget: int = 50,
        format_: int = 1,
        pools: Sequence[str] = ("",),
    ) -> Go | Empty:
        self._nonces += 1
        reply = await self.call(
            "claim",
            [RING],
            *pools,
            worker=worker,
            nonce=nonce or f"n{self._nonces}",
            lease_ms=lease_ms,
            can_continue=int(can_continue),
            max_crashes=self.max_crashes,
            budget=budget,
            take=int(take),
            suspect_ok=int(suspect_ok),
            default_model='"default"',
            dead_retention_s=10 * RETENTION_S,
            stays_idle=int(stays_idle),
            reachable_ms=reachable_ms,
            format=format_,
            **KEEP,
        )
        if reply[0] == "EMPTY":
            return Empty(int(reply[1]))
        self.next_ms = int(reply[11])
        _, id_, attempt, n, opener, prev, payload, crashes, retries, conv, tenant = map(
            str, reply[:11]
        )
        return Go(
            id_,
            int(attempt),
            int(n),
            opener,
            prev,
            payload,
            int(crashes),
            int(retries),
            conv,
            tenant,
            str(reply[17]),
        )

    async def take(self, worker: str = "w", *, can_continue: bool = False) -> Go:
        """Claim where something waits."""
        got = await self.claim(worker, can_continue=can_continue)
        assert isinstance(got, Go), "nothing waits"
        return got

    async def append(
        self,
        go: Go,
        first_seq: int,
        *texts: str,
        max_seq: int = 1000,
        max_bytes: int = 100_000,
    ) -> Reply:
        return await self.call(
            "append",
            [f"{TAG}req:{go.id}", f"{TAG}log:{go.id}"],
            *deltas(*texts),
            attempt=go.attempt,
            first_seq=first_seq,
            max_entries=max_seq,
            max_output_bytes=max_bytes,
            channel=f"{TAG}push:{go.id}",
        )

    async def renew(self, *held: Go, lease_ms: int = LEASE_MS) -> list[int]:
        """The numbers of the leases whose renewal was refused."""
        values = [str(part).encode() for go in held for part in (go.id, go.attempt)]
        _, *refused = await self.call("renew", [f"{TAG}running"], *values, lease_ms=lease_ms)
        return [int(number) for number in refused]

    async def reopen(
        self,
        go: Go,
        nonce: str = "again",
        *,
        worker: str = "w",
        can_continue: bool = False,
        reason: str = "upstream_truncated",
    ) -> Reply:
        return await self.call(
            "reopen",
            [RING],
            request_id=go.id,
            attempt=go.attempt,
            worker=worker,
            nonce=nonce,
            lease_ms=LEASE_MS,
            can_continue=int(can_continue),
            default_model='"default"',
            reason=json.dumps(reason),
            **KEEP,
        )

    async def retry(
        self,
        go: Go,
        delay_ms: int = 60_000,
        *,
        reason: str = "later",
        usage: str = "",
        counts: bool = True,
    ) -> Reply:
        return await self.call(
            "retry",
            [RING],
            request_id=go.id,
            attempt=go.attempt,
            delay_ms=delay_ms,
            reason=json.dumps(reason),
            usage=usage,
            counts=int(counts),
        )

    async def release(self, go: Go) -> Reply:
        return await self.call("release", [RING], request_id=go.id, attempt=go.attempt)

    async def mark(self, go: Go, policy: str, at: int = 0, checkpoint: str = "") -> Reply:
        return await self.call(
            "mark",
            [RING],
            request_id=go.id,
            attempt=go.attempt,
            policy=policy,
            at=at,
            checkpoint=checkpoint,
        )

    async def finish(
        self,
        go: Go,
        first_seq: int,
        *texts: str,
        state: Terminal = "completed",
        usage: str = "",
        answered: str = "",
        called: str = "",
        values: Sequence[bytes] = (),
        max_bytes: int = 100_000,
    ) -> Reply:
        return await self.call(
            "finish",
            [RING],
            *values,
            *deltas(*texts),
            terminal(state),
            request_id=go.id,
            attempt=go.attempt,
            first_seq=first_seq,
            usage=usage,
            answered=answered,
            called=called,
            state=state,
            max_output_bytes=max_bytes,
            **KEEP,
        )

    async def cancel(self, id_: str, tenant: str = "t") -> Reply:
        return await self.call("cancel", [RING], request_id=id_, tenant=tenant, **KEEP)

    async def account(self, go: Go, usage: str) -> Reply:
        keys = [f"{TAG}req:{go.id}"]
        return await self.call("account", keys, attempt=go.attempt, usage=usage)

    async def erase(self, id_: str, tenant: str = "t") -> Reply:
        return await self.call(
            "erase", [RING], request_id=id_, tenant=tenant, has_history=self.has_history
        )

    async def forget(self, conv: str, tenant: str = "t") -> Reply:
        named = {"conversation": conv, "tenant": tenant, "read_to": ""}
        return await self.call("forget", [RING], has_history=self.has_history, **named, **KEEP)

    async def recount(self, *, every_ms: int = 0, most: int = 100) -> Reply:
        return await self.call("recount", [RING], every_ms=every_ms, most=most, **KEEP)

    async def position(self, id_: str, tenant: str = "t", *, looked_at: int = 1000) -> int:
        named = {"request_id": id_, "tenant": tenant}
        return int(await self._scripts.call("position", [RING], max_tenants=looked_at, **named))

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
