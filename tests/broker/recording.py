"""The rules of what is recorded beside the logs: marks of attempts, and the outboxes."""

import json
from typing import cast

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.broker.machine import REFUSALS, WritingMachine, replies_lost, tenants, texts
from tests.broker.snapshot import Snapshot
from tests.broker.stories import Request
from tickertape.broker.codec import Cursor
from tickertape.broker.kinds import Policy
from tickertape.broker.leases import Attached, Lease
from tickertape.broker.outbox import CONSUMERS, Consumer, Fate

kept_answers = st.tuples(st.sampled_from(["a", "b", "nobody's"]), st.sampled_from(["1", "2"]))
FATES = {"done": None, "again": 0, "given up": None}


class RecordingMachine(WritingMachine):
    """Attempts record marks, also long after their time, and consumers take what ended."""

    @rule(
        lease=WritingMachine.leases,
        policy=st.sampled_from(["restart", "restart", "continue", "fail"]),
        state=st.sampled_from(["", "1", "[]"]),
        behind=st.sampled_from([0, 0, 1, -1]),
        times=replies_lost,
    )
    def mark(
        self, lease: Lease | None, policy: Policy, state: str, behind: int, times: int
    ) -> None:
        if lease is None:
            return
        r = self.model.requests.get(lease.request_id)
        at = max(0, r.seq - behind) if r is not None else 0
        for _ in range(times):
            word = self.model.mark(lease.request_id, lease.n, policy, at, state)
            marking = self.subject.marks.mark(lease, policy, at=at, checkpoint=state.encode())
            assert self.subject.outcome(marking) == REFUSALS.get(word)

    @rule(
        lease=WritingMachine.leases,
        at=st.none() | kept_answers,
        times=replies_lost,
    )
    def attach(self, lease: Lease | None, at: tuple[str, str] | None, times: int) -> None:
        """An upstream keeps the answer, or keeps it no more."""
        if lease is None:
            return
        for _ in range(times):
            word = self.model.attach(lease.request_id, lease.n, at)
            attaching = self.subject.marks.attach(lease, Attached(*at) if at else None)
            assert self.subject.outcome(attaching) == REFUSALS.get(word)

    @rule(
        target=WritingMachine.leases,
        tenant=tenants,
        policy=st.sampled_from(["restart", "continue", "fail"]),
        at=kept_answers,
        texts=st.just([]) | texts,
        is_lost=st.booleans(),
        worker=st.sampled_from(["w", "both"]),
        can_continue=st.booleans(),
    )
    def take_an_answer_over(
        self,
        tenant: str,
        policy: Policy,
        at: tuple[str, str],
        texts: list[str],
        is_lost: bool,
        worker: str,
        can_continue: bool,
    ) -> Lease | None:
        """A worker leaves an answer that its upstream keeps, and another worker claims.

        Rules in any order come to that so seldom that they would not find a defect.
        """
        new = {"conversation": None, "on_busy": "queue", "key": None, "fingerprint": "f"}
        self.submit(tenant=tenant, policy=policy, pool="", times=1, **new)
        claiming = {"is_new": True, "take": True, "suspect_ok": True, "stays_idle": True}
        lease = cast("Lease | None", self.claim("w", can_continue=False, times=1, **claiming))
        if lease is None:
            return None
        self.attach(lease, at, times=1)
        if texts:
            self.append(lease, texts, drift=0, times=1)
        if is_lost:
            self.lose_worker(lease.request_id)
        else:
            self.give_back(lease, "release", times=1)
        claimed = self.claim(worker, can_continue=can_continue, times=1, **claiming)
        return cast("Lease | None", claimed)

    @rule(
        consumer=st.sampled_from(CONSUMERS),
        fates=st.lists(st.sampled_from([*FATES]), min_size=1, max_size=3),
        times=replies_lost,
    )
    def hand_on(self, consumer: Consumer, fates: list[str], times: int) -> None:
        """A consumer takes the oldest requests. A webhook may have to be sent again."""
        collected = self.subject.run(self.subject.outbox.collect(0, consumer))
        ended, due = collected if collected is not None else ([], [])
        assert [(each.request_id, each.state) for each in ended] == self.model.outboxes.ended[
            consumer
        ]
        waiting = self.model.outboxes.erased if consumer == "history" else self.model.outboxes.again
        assert {each.decode() for each in due} == waiting
        handed = []
        for each, name in zip(ended, fates, strict=False):
            fate = name if consumer == "webhooks" else "done"
            again = b"" if fate == "done" else each.request_id.encode()
            handed.append(
                Fate(each.entry, request_id=each.request_id, next=again, due_ms=FATES[fate])
            )
            self.model.outboxes.hand(consumer, each.request_id, fate=fate)
        for _ in range(times):
            self.subject.run(self.subject.outbox.hand(0, consumer, handed))

    @rule(times=replies_lost)
    def send_again(self, times: int) -> None:
        again = sorted(self.model.outboxes.again)
        self.model.outboxes.again.clear()
        fates = [Fate(repeat=each.encode()) for each in again]
        for _ in range(times):
            self.subject.run(self.subject.outbox.hand(0, "webhooks", fates))

    @rule(times=replies_lost)
    def erase_in_the_history(self, times: int) -> None:
        erased = [each.encode() for each in self.model.outboxes.erased]
        self.model.outboxes.erased.clear()
        for _ in range(times):
            self.subject.run(self.subject.outbox.has_erased(0, erased))

    def records_agree(self, now: Snapshot) -> None:
        """After `attempts` is known."""
        outboxes = self.model.outboxes
        for consumer, ended in outboxes.ended.items():
            rows = now.list(f"outbox:{consumer}")
            assert [(row["id"], row["state"]) for _, row in rows] == ended
        assert {id_ for id_, _ in now.named("record:")} == outboxes.records
        assert {id_ for id_, _ in now.list("erased")} == outboxes.erased
        assert {each for each, _ in now.list("repeats")} == outboxes.again
        assert {id_ for id_, _ in now.list("given_up")} == outboxes.given_up
        assert {id_: [*kept] for id_, kept in now.named("given_up:")} == {
            id_: [id_] for id_ in outboxes.given_up
        }
        for id_, r in self.model.requests.items():
            stored = now.hash(f"req:{id_}")
            assert (stored.get("checkpoint"), stored.get("checkpoint_at")) == self.checkpoint_of(r)
            at = json.loads(stored.get("attached", "null"))
            assert r.attached == (at and (at["upstream"], at["id"], at.get("entries", 0)))

    def checkpoint_of(self, r: Request) -> tuple[str | None, str | None]:
        if r.checkpoint is None:
            return None, None
        state, n, seq = r.checkpoint
        return state, str(Cursor(self.attempts[r.id][n], seq))
