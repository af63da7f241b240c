"""Pure: what the broker should do, in plain dictionaries and without time.

An attempt is known by its number. What depends on time happens when a test says so: leases and
delays are over in the order in which they were put into `expired` and `due`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from tests.broker.line import Line
from tests.broker.outboxes import Outboxes
from tests.broker.stories import Request, Talk

Answer = tuple[str, object]

MAX_CRASHES = 2
QUEUE_LIMIT = 8
TENANT_LIMIT = 5
POOLS = ("", "agent", "other/agent")


class Model:
    def __init__(self) -> None:
        self.requests: dict[str, Request] = {}
        self.keys: dict[tuple[str, str | None, str], tuple[str, str]] = {}
        self.lines = {pool: Line() for pool in POOLS}
        self.expired: list[str] = []
        self.due: list[str] = []
        self.talks: dict[tuple[str, str], Talk] = {}
        self.claims: dict[str, str] = {}
        # The tenant, and the request before, of each one whose messages are kept for followers.
        self.exchanges: dict[str, tuple[str, str]] = {}
        # The workers that are listed as idle, in each pool. They have no subscription, so a wake
        # removes all of them.
        self.idle: dict[str, list[str]] = {pool: [] for pool in POOLS}
        self.outboxes = Outboxes()

    def submit(self, new: Request, fingerprint: str, on_busy: str) -> Answer:
        if new.key in self.keys and new.key is not None:
            known, id_ = self.keys[new.key]
            return ("EXISTS", id_) if known == fingerprint else ("CONFLICT", None)
        if new.id in self.requests:
            return "EXISTS", new.id
        in_flight = [r for r in self.requests.values() if not r.is_over]
        if len(in_flight) >= QUEUE_LIMIT:
            return "FULL", None
        if sum(r.tenant == new.tenant for r in in_flight) >= TENANT_LIMIT:
            return "TENANT_LIMIT", None
        talk = self._talk(new)
        if talk is not None and talk.active is not None and on_busy == "reject":
            return "BUSY", talk.active
        self._accept(new, talk, on_busy)
        if new.key is not None:
            self.keys[new.key] = fingerprint, new.id
        return "OK", new.id

    def claim(
        self,
        worker: str,
        pools: Sequence[str],
        nonce: str,
        *,
        take: bool,
        suspect_ok: bool,
        can_continue: bool,
        stays_idle: bool,
        keeps: Sequence[str],
    ) -> Request | None:
        """`pools` are those of the worker, in the order of this claim.

        `keeps` are those of its upstreams that keep answers.
        """
        mine = self.requests.get(self.claims.get(nonce, ""))
        if mine is not None and mine.state == "running" and mine.owner == nonce:
            if mine.id in self.expired:
                self.expired.remove(mine.id)
            return mine
        self._reap_and_promote()
        busy = Counter(r.tenant for r in self.requests.values() if r.state == "running")
        while take and (line := self._next_line(pools, suspect_ok=suspect_ok, busy=busy)):
            r = self.requests[line.take(suspect_ok=suspect_ok, busy=busy) or ""]
            if self._open(r, nonce, can_continue=can_continue, keeps=keeps):
                self.claims[nonce] = r.id
                self._settle_wakes(worker, pools, is_idle=stays_idle)
                return r
            self._end(r, "failed")
        if not take:
            for pool in pools:
                self._unlist(pool, worker)
        self._settle_wakes(worker, pools, is_idle=take)
        return None

    def _next_line(
        self, pools: Sequence[str], *, suspect_ok: bool, busy: Mapping[str, int]
    ) -> Line | None:
        """A pool with suspects, or the one of the tenant that runs the fewest requests."""
        lines = [self.lines[pool] for pool in pools]
        for line in lines:
            if suspect_ok and line.suspects:
                return line
        waiting = [line for line in lines if line.ring]
        return min(
            waiting, key=lambda line: min(busy.get(tenant, 0) for tenant in line.ring), default=None
        )

    def append(self, id_: str, n: int, first: int, texts: list[str]) -> Answer:
        r = self.requests.get(id_)
        if r is None or r.state != "running" or r.n != n:
            return "FENCED", None
        if first + len(texts) - 1 <= r.seq:
            return "DUP", r.seq
        if first > r.seq + 1:
            return "GAP", r.seq
        for text in texts[r.seq + 1 - first :]:
            r.write("delta", text)
        return "OK", r.seq

    def renew(self, id_: str, n: int) -> str:
        r = self.requests.get(id_)
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        if id_ in self.expired:
            self.expired.remove(id_)
        return "OK"

    def reopen(self, id_: str, n: int, nonce: str, *, can_continue: bool) -> Request | str | None:
        r = self.requests.get(id_)
        if r is not None and r.state == "running" and r.owner == nonce:
            return r
        if r is not None and r.state == "failed" and r.n == n:
            return None
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        self._leave(r)
        r.attached = None
        if self._open(r, nonce, can_continue=can_continue):
            return r
        self._end(r, "failed")
        return None

    def mark(self, id_: str, n: int, policy: str, at: int, state: str) -> str:
        r = self.requests.get(id_)
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        if state and at > r.seq:
            return "GAP"
        r.policy, r.has_begun = policy, True
        if state:
            r.checkpoint = state, n, at
        return "OK"

    def attach(self, id_: str, n: int, at: tuple[str, str] | None) -> str:
        r = self.requests.get(id_)
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        r.attached = None if at is None else (*at, 0)
        return "OK"

    def retry(self, id_: str, n: int) -> str:
        r = self.requests.get(id_)
        if r is not None and r.state == "delayed" and r.n == n:
            return "OK"
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        self._leave(r)
        r.state, r.retries, r.attached = "delayed", r.retries + 1, None
        return "OK"

    def release(self, id_: str, n: int) -> str:
        r = self.requests.get(id_)
        if r is not None and r.state == "queued" and r.n == n:
            return "OK"
        if r is None or r.state != "running" or r.n != n:
            return "FENCED"
        self._leave(r)
        r.is_handed_over = True
        self._enqueue(r, to_head=True, turn_now=True)
        return "OK"

    def finish(
        self, id_: str, n: int, state: str, first: int, texts: list[str], answered: str | None
    ) -> Answer:
        r = self.requests.get(id_)
        if r is None or r.n != n:
            return "FENCED", None
        if r.state == state:
            return "OK", None
        if r.state != "running":
            return "FENCED", None
        if first > r.seq + 1 or first + len(texts) <= r.seq:
            return "GAP", r.seq
        for text in texts[r.seq + 1 - first :]:
            r.write("delta", text)
        talk = self._talk(r)
        if talk is not None and answered is not None:
            talk.turns[id_] = answered
        self._end(r, state)
        return "OK", None

    def cancel(self, id_: str, tenant: str) -> str:
        r = self.requests.get(id_)
        if r is None or r.tenant != tenant:
            return "MISSING"
        if not r.is_over:
            self._end(r, "cancelled")
        return r.state

    def erase(self, id_: str, tenant: str) -> str:
        r = self.requests.get(id_)
        if r is None or r.tenant != tenant:
            return "MISSING"
        if not r.is_over:
            return "ACTIVE"
        self._forget_request(r)
        talk = self._talk(r)
        if talk is not None:
            talk.turns.pop(id_, None)
            talk.erased.append(id_)
        return "OK"

    def follow(self, id_: str, tenant: str, after: str) -> list[str] | None:
        """The ids of the chain before a response, the oldest first; None if one is missing."""
        r = self.requests.get(id_)
        if r is None or r.tenant != tenant or not r.is_over:
            return None
        chain: list[str] = []
        first = after
        while after:
            if after not in self.exchanges or self.exchanges[after][0] != tenant:
                return None
            chain.insert(0, after)
            after = self.exchanges[after][1]
        self.exchanges.setdefault(id_, (tenant, first))
        return chain

    def forget(self, tenant: str, conversation: str) -> int | None:
        talk = self.talks.pop((tenant, conversation), None)
        if talk is None:
            return None
        for id_ in [*talk.held, talk.active or ""]:
            if id_ in self.requests:
                self._end(self.requests[id_], "cancelled")
        erased = [self.requests[id_] for id_ in talk.turns]
        for r in erased:
            self._forget_request(r)
        for id_ in talk.erased:
            self.outboxes.erase(id_)
        return len(erased)

    def _talk(self, r: Request) -> Talk | None:
        if r.conversation is None:
            return None
        return self.talks.get((r.tenant, r.conversation))

    def _accept(self, new: Request, talk: Talk | None, on_busy: str) -> None:
        if new.conversation is not None and talk is None:
            talk = self.talks[new.tenant, new.conversation] = Talk()
        active = talk.active if talk is not None else None
        if talk is not None and active is not None and on_busy == "replace":
            for id_ in [*talk.held, active]:
                talk.active = None
                self._end(self.requests[id_], "cancelled", is_replaced=True)
            talk.held.clear()
        self.requests[new.id] = new
        if talk is not None:
            talk.turns[new.id] = None
            if talk.active is not None:
                new.state = "held"
                talk.held.append(new.id)
                return
            talk.active = new.id
        self._enqueue(new)

    def _settle_wakes(self, worker: str, pools: Sequence[str], *, is_idle: bool) -> None:
        with_work = [pool for pool in pools if self.lines[pool].ring]
        for pool in with_work:
            self.idle[pool].clear()
        if is_idle and not with_work:
            for pool in pools:
                self._unlist(pool, worker)
                self.idle[pool].append(worker)

    def _unlist(self, pool: str, worker: str) -> None:
        if worker in self.idle[pool]:
            self.idle[pool].remove(worker)

    def _enqueue(self, r: Request, *, to_head: bool = False, turn_now: bool = False) -> None:
        r.state = "queued"
        self.idle[r.pool].clear()
        line = self.lines[r.pool]
        line.put(r.id, r.tenant, is_suspect=r.is_suspect, to_head=to_head, turn_now=turn_now)

    def _leave(self, r: Request) -> None:
        """Take a request from wherever it is."""
        self.lines[r.pool].remove(r.id, r.tenant)
        for place in (self.expired, self.due):
            if r.id in place:
                place.remove(r.id)

    def _open(
        self, r: Request, nonce: str, *, can_continue: bool, keeps: Sequence[str] = ()
    ) -> bool:
        has_output = r.is_kept or (r.n > 0 and r.seq > 0)
        is_at_checkpoint = (
            r.policy != "fail" and r.checkpoint is not None and r.checkpoint[1:] == (r.n, r.seq)
        )
        reads_on = r.attached is not None and r.attached[0] in keeps
        r.attached = (*r.attached[:2], r.attached[2] + r.seq) if r.attached and reads_on else None
        r.opener = "started"
        if has_output or (r.policy == "fail" and r.has_begun):
            continues = r.policy == "continue" or (r.policy == "restart" and r.is_handed_over)
            if is_at_checkpoint or reads_on or (continues and can_continue):
                r.opener = "resumed"
            elif r.policy == "restart":
                r.opener = "reset"
            else:
                return False
        r.is_handed_over = False
        r.is_kept = r.opener == "resumed"
        r.state, r.n, r.seq, r.owner = "running", r.n + 1, 0, nonce
        r.log.append((r.n, 0, r.opener, ""))
        if is_at_checkpoint and r.checkpoint is not None:
            r.checkpoint = r.checkpoint[0], r.n, 0
        return True

    def _end(self, r: Request, state: str, *, is_replaced: bool = False) -> None:
        was = r.state
        self._leave(r)
        r.write(state)
        r.state, r.checkpoint, r.attached = state, None, None
        self.outboxes.end(r.id, state)
        talk = self._talk(r)
        if talk is not None and (state == "cancelled" or (state == "failed" and r.text)):
            talk.turns[r.id] = r.text
        if talk is None or is_replaced:
            return
        if was == "held":
            talk.held.remove(r.id)
            return
        talk.active = talk.held.pop(0) if talk.held else None
        if talk.active is not None:
            self._enqueue(self.requests[talk.active])

    def _reap_and_promote(self) -> None:
        expired, self.expired = self.expired, []
        for r in [self.requests[id_] for id_ in reversed(expired)]:
            r.crashes += 1
            if r.crashes >= MAX_CRASHES:
                self._end(r, "failed")
            else:
                r.is_suspect = r.crashes == MAX_CRASHES - 1
                self._enqueue(r, to_head=True, turn_now=True)
        due, self.due = self.due, []
        for id_ in reversed(due):
            self._enqueue(self.requests[id_], to_head=True)

    def _forget_request(self, r: Request) -> None:
        del self.requests[r.id]
        self.outboxes.erase(r.id)
        self.exchanges.pop(r.id, None)
        if r.key is not None and self.keys.get(r.key, ("", ""))[1] == r.id:
            del self.keys[r.key]
