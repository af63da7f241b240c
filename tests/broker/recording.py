"""The rules of what is recorded beside the logs: marks of functions, and the outboxes."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.broker.machine import REFUSALS, WritingMachine, replies_lost
from tests.broker.snapshot import Snapshot
from tests.broker.stories import Request
from tickertape.broker.codec import Cursor
from tickertape.broker.kinds import Policy
from tickertape.broker.leases import Lease
from tickertape.broker.outbox import CONSUMERS, Consumer, Fate

FATES = {"done": None, "again": 0, "given up": None}


class RecordingMachine(WritingMachine):
    """Functions record checkpoints, also long after their time, and consumers take what ended."""

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

    def checkpoint_of(self, r: Request) -> tuple[str | None, str | None]:
        if r.checkpoint is None:
            return None, None
        state, n, seq = r.checkpoint
        return state, str(Cursor(self.attempts[r.id][n], seq))
