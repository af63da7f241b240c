"""One partition, driven script by script, with readable calls."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from tests.broker.checked_partition import TAG, CheckedPartition, Go, Reply
from tests.broker.promises import settled
from tickertape.broker.codec import encode_data, encode_text
from tickertape.broker.kinds import Terminal

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


class Empty(NamedTuple):
    """What a claim that got nothing answers."""

    due_ms: int


def deltas(*texts: str) -> list[bytes]:
    """Values of deltas."""
    return [encode_text("delta", text) for text in texts]


def terminal(state: Terminal) -> bytes:
    """The value of a terminal."""
    return encode_data(state, {})


class Partition(CheckedPartition):
    """Calls scripts with short ids, which are enough for them, and plain defaults."""

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
        keeps: str = "",
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
            keeps=keeps,
            **KEEP,
        )
        if reply[0] == "EMPTY":
            return Empty(int(reply[1]))
        self.next_ms = int(reply[11])
        _, id_, attempt, n, opener, prev, payload, crashes, retries, conv, tenant = map(
            str, reply[:11]
        )
        return Go(
            id_, int(attempt), int(n), opener, prev, payload, int(crashes), int(retries), conv,
            tenant, str(reply[17]),
        )  # fmt: skip

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
            *f"{go.attempt} {first_seq} {TAG}push:{go.id} {len(texts)}".encode().split(),
            *deltas(*texts),
            max_entries=max_seq,
            max_output_bytes=max_bytes,
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

    async def mark(
        self, go: Go, policy: str, at: int = 0, checkpoint: str = "", attached: str = ""
    ) -> Reply:
        return await self.call(
            "mark",
            [RING],
            request_id=go.id,
            attempt=go.attempt,
            policy=policy,
            at=at,
            checkpoint=checkpoint,
            attached=attached,
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
