"""The verbs of a worker: claim, renew, reopen, retry, release, finish, account.

The holder of a Lease may write until Redis refuses: the script of each verb compares the attempt
with the current one, whatever this process believes.
"""

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import msgspec

from tickertape.broker import request_ids
from tickertape.broker.codec import NEWEST_FORMAT, Cursor
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Fenced, TooLong
from tickertape.broker.kinds import Opener, Terminal, Verdict
from tickertape.broker.leases import Lease, Nothing, lease_of, next_ms_of
from tickertape.broker.lua import Scripts
from tickertape.broker.pools import UPSTREAM
from tickertape.runtime.settings import Settings

CLAIM_BUDGET = 50
DEAD_RETENTION_S = 604_800
# The message on a worker's channel that asks it to claim; see `wake_idle_worker` in prefix.lua.
WAKE = b"wake"
# Redis serves nobody else while a script runs: this many renewals take half a millisecond.
MOST_RENEWALS = 200


@dataclass(frozen=True)
class Gap:
    """The log of this attempt ends at `seq`, and not where the writer expected the end."""

    seq: int


class Queue:
    """The queue as one worker sees it.

    The worker runs requests of its `pools` up to `newest_format`: the names of functions, and
    UPSTREAM. `keeping` has the names of its upstreams that keep their answers (broker/marks.py).
    """

    def __init__(
        self,
        connections: Connections,
        settings: Settings,
        *,
        worker: str,
        newest_format: int = NEWEST_FORMAT,
        pools: Sequence[str] = (UPSTREAM,),
        keeping: Sequence[str] = (),
    ) -> None:
        self._connections = connections
        self._keys = connections.keys
        self._settings = settings
        self._worker = worker
        self.pools = tuple(pools)
        self._format = newest_format
        self._keeps = " ".join(keeping)
        # Of equal pools, the first one has the next turn. It is the last one of the next claim.
        self._pools = deque(pools)
        self._scripts = Scripts(connections.commands)
        self.default_model = settings.openai_model or ""
        self.failed_by_claims = Counter(poison=0, interrupted=0)
        """How many requests the claims have ended, by the code of the failure."""

    async def claim(
        self,
        partition: int,
        nonce: str,
        *,
        take: bool = True,
        suspect_ok: bool = True,
        can_continue: bool = False,
        stays_idle: bool = True,
        reachable_ms: int = 0,
    ) -> Lease | Nothing:
        """Claim the next request if there is one; without `take`, only queue due requests again.

        The same nonce returns the same request while that request runs, so a caller that lost the
        reply repeats the call with the same nonce. `can_continue`: the caller's upstream can
        continue a partial answer. `stays_idle`: the worker can take more after this request.
        `reachable_ms`: for how long this server has answered the caller without a pause.

        A worker that gets Nothing with `next_ms` other than 0, or a Lease with such a `next_ms` and
        `stays_idle`, is sent WAKE on its channel of the partition when there is work; a claim
        without `take` ends that. A wake can be lost, so look from time to time (broker/looks.py).
        Raises Unavailable.
        """
        self._pools.rotate(-1)
        word, details = await self._scripts.verdict(
            "claim",
            [self._keys.ring(partition)],
            *self._pools,
            worker=self._worker,
            nonce=nonce,
            lease_ms=self._settings.lease_ms,
            can_continue=int(can_continue),
            max_crashes=self._settings.max_crashes,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            budget=CLAIM_BUDGET,
            take=int(take),
            suspect_ok=int(suspect_ok),
            default_model=msgspec.json.encode(self.default_model),
            dead_retention_s=DEAD_RETENTION_S,
            stays_idle=int(stays_idle),
            reachable_ms=reachable_ms,
            format=self._format,
            keeps=self._keeps,
        )
        next_ms, poisoned, interrupted, *_ = details if word == "EMPTY" else details[10:]
        if poisoned or interrupted:
            self.failed_by_claims.update(poison=int(poisoned), interrupted=int(interrupted))
        return Nothing(next_ms_of(next_ms)) if word == "EMPTY" else lease_of(details)

    async def renew(self, leases: Sequence[Lease]) -> list[Lease]:
        """Keep the leases for their full length from now, in one call; returns the refused ones.

        All of them must be of one partition, and at most MOST_RENEWALS. Raises Unavailable.
        """
        held = [word for lease in leases for word in (lease.request_id, lease.attempt)]
        partition = request_ids.partition_of(leases[0].request_id)
        _, refused = await self._scripts.verdict(
            "renew", [self._keys.running(partition)], *held, lease_ms=self._settings.lease_ms
        )
        return [leases[int(number)] for number in refused]

    async def reopen(
        self, lease: Lease, nonce: str, reason: str, *, can_continue: bool = False
    ) -> Lease | None:
        """End this attempt and open the next; None when the policy forbids that, and it has failed.

        Raises Fenced, Unavailable (repeat with the same nonce).
        """
        word, details = await self._scripts.verdict(
            "reopen",
            [self._ring(lease)],
            request_id=lease.request_id,
            attempt=lease.attempt,
            worker=self._worker,
            nonce=nonce,
            lease_ms=self._settings.lease_ms,
            can_continue=int(can_continue),
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            default_model=msgspec.json.encode(self.default_model),
            reason=_json(reason),
        )
        _unless_fenced(word)
        if word == "INTERRUPTED":
            return None
        attempt, n, opener, prev = details
        return replace(
            lease,
            attempt=int(attempt),
            n=int(n),
            opener=cast("Opener", opener.decode()),
            prev=Cursor.parse(prev),
            away_s=None,
            attached=None,
        )

    async def retry(
        self,
        lease: Lease,
        delay_ms: int,
        reason: str,
        usage: dict[str, Any] | None = None,
        *,
        counts: bool = True,
    ) -> None:
        """Delay the request for `delay_ms`; raises Fenced, Unavailable.

        `counts`: the delay is one of the retries of the request.
        """
        word, _ = await self._scripts.verdict(
            "retry",
            [self._ring(lease)],
            request_id=lease.request_id,
            attempt=lease.attempt,
            delay_ms=delay_ms,
            reason=_json(reason),
            usage=_json(usage),
            counts=int(counts),
        )
        _unless_fenced(word)

    async def release(self, lease: Lease) -> None:
        """Put the request back at the head of the queue; raises Fenced, Unavailable."""
        word, _ = await self._scripts.verdict(
            "release", [self._ring(lease)], request_id=lease.request_id, attempt=lease.attempt
        )
        _unless_fenced(word)

    async def finish(
        self,
        lease: Lease,
        state: Terminal,
        first_seq: int,
        values: list[bytes],
        *,
        usage: dict[str, Any] | None = None,
        answered: str | None = None,
        called: dict[str, Any] | None = None,
    ) -> Gap | None:
        """End the request with its last entries, from `first_seq` on; the last one is the terminal.

        The conversation remembers `answered`, the text of a completed answer, and `called`, its
        tool calls as TurnCalls reads them; after any other end, the script reads the text from the
        log. Returns None when the request has ended (by this call, or an earlier one whose reply
        was lost), and a Gap when the log ends elsewhere. Raises Fenced, TooLong (nothing was
        written), Unavailable.
        """
        word, details = await self._scripts.verdict(
            "finish",
            [self._ring(lease)],
            *values,
            request_id=lease.request_id,
            attempt=lease.attempt,
            first_seq=first_seq,
            retention_s=self._settings.retention_s,
            conversation_ttl_s=self._settings.conversation_ttl_s,
            usage=_json(usage),
            answered=_json(answered),
            called=_json(called),
            state=state,
            max_output_bytes=self._settings.max_output_bytes,
        )
        _unless_fenced(word)
        if word == "TOO_LONG":
            raise TooLong
        return Gap(int(details[0])) if word == "GAP" else None

    async def account(self, lease: Lease, usage: dict[str, Any]) -> None:
        """Record the usage of an unfinished attempt, once; raises Unavailable."""
        await self._scripts.verdict(
            "account",
            [self._keys.request(lease.request_id)],
            attempt=lease.attempt,
            usage=msgspec.json.encode(usage),
        )

    def _ring(self, lease: Lease) -> str:
        return self._keys.ring(request_ids.partition_of(lease.request_id))


def _unless_fenced(word: Verdict) -> None:
    if word == "FENCED":
        raise Fenced


def _json(value: dict[str, Any] | str | None) -> bytes:
    return b"" if value is None else msgspec.json.encode(value)
