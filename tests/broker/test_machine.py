"""Calls in any order, repeated calls and calls of workers long gone: the broker does what its model
does, on the fake and on a real server.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.broker.invariants import log_of, states, violations
from tests.broker.machine import WORKERS, WritingMachine, tenants
from tests.broker.recording import RecordingMachine
from tests.broker.snapshot import Snapshot
from tests.broker.stories import Logged
from tests.support.whole_turns import whole_conversation
from tickertape.broker import errors
from tickertape.broker.codec import Cursor
from tickertape.broker.pools import after_name, in_pool


class BrokerMachine(RecordingMachine):
    """Adds reading, and compares all of Redis with all of the model after each step."""

    @precondition(lambda self: self.model.requests)
    @rule(data=st.data(), count=st.integers(1, 5))
    def read_at_a_cursor(self, data: st.DataObject, count: int) -> None:
        id_ = data.draw(st.sampled_from(list(self.model.requests)))
        log = self.model.requests[id_].log
        at = data.draw(st.integers(0, len(log) - 1))
        n, seq, _, _ = log[at]
        first = Cursor(self.attempts[id_][n], seq)
        page = self.subject.run(self.subject.logs.read(id_, first, count))
        assert [(cursor.attempt, cursor.seq) for cursor, _ in page] == [
            (self.attempts[id_][n], seq) for n, seq, _, _ in log[at : at + count]
        ]

    @rule(tenant=tenants, conversation=st.sampled_from(["one", "two"]))
    def look_at_a_conversation(self, tenant: str, conversation: str) -> None:
        talk = self.model.talks.get((tenant, conversation))
        reading = whole_conversation(self.subject.conversations, tenant, conversation)
        found = self.subject.outcome(reading)
        if talk is None:
            assert found == errors.RequestMissing
            return
        assert not isinstance(found, type)
        assert found.active_request_id == talk.active
        assert [(turn.request_id, turn.answered) for turn in found.turns] == [*talk.turns.items()]
        ids = list(talk.turns)
        assert [found.parents[id_] for id_ in ids] == ([None, *ids] if ids else [])[: len(ids)]

    @rule(tenant=tenants)
    def look_at_the_list_of_conversations(self, tenant: str) -> None:
        assert self.subject.listed(tenant) == {
            name: (talk.active, len(talk.turns))
            for (owner, name), talk in self.model.talks.items()
            if owner == tenant
        }

    @rule(id_=WritingMachine.ids, tenant=tenants)
    def look_at_a_request(self, id_: str, tenant: str) -> None:
        r = self.model.requests.get(id_)
        found = self.subject.outcome(self.subject.requests.get(id_, tenant))
        if r is None or r.tenant != tenant:
            assert found == errors.RequestMissing
            return
        assert not isinstance(found, type)
        assert (found.state, found.n, found.seq) == (r.state, r.n, r.seq)
        position = self.subject.run(self.subject.requests.position(id_, tenant))
        assert position == self.model.lines[r.pool].claims_before(id_)

    @invariant()
    def nothing_is_lost_or_out_of_place(self) -> None:
        now = self.subject.snapshot()
        assert violations(now) == []
        assert states(now) == {id_: r.state for id_, r in self.model.requests.items()}
        assert {id_ for id_, _ in now.named("exchange:")} == {*self.model.exchanges}
        self.pools_agree(now)
        self.attempts = {}
        for id_, r in self.model.requests.items():
            log = log_of(now, id_)
            self.attempts[id_] = list(dict.fromkeys(entry.cursor.attempt for entry in log))
            numbered: list[Logged] = [
                (self.attempts[id_].index(e.cursor.attempt), e.cursor.seq, e.kind, e.text)
                for e in log
            ]
            assert numbered == r.log
        self.records_agree(now)

    def pools_agree(self, now: Snapshot) -> None:
        lines = self.model.lines
        for pool, line in lines.items():
            assert now.list(f"ring{after_name(pool)}") == line.ring
            assert now.list(f"suspect{after_name(pool)}") == line.suspects
            listed = {worker for worker, _ in now.list(f"idle{after_name(pool)}")}
            assert listed == {*self.model.idle[pool]}
        assert dict(now.named("wait:")) == {
            in_pool(pool, tenant): ids
            for pool, line in lines.items()
            for tenant, ids in line.waiting.items()
        }
        for worker, pools in WORKERS.items():
            look = self.subject.run(self.subject.looks[worker].look(0))
            assert look.has_waiting == any(lines[pool].ring for pool in pools)
            assert look.has_suspects == any(lines[pool].suspects for pool in pools)
            assert (look.next_ms == 0) == bool(self.model.expired or self.model.due)


def run_machine(request: pytest.FixtureRequest, server: str, examples: int, steps: int) -> None:
    url = request.getfixturevalue("redis_url") if server == "valkey" else None
    machine = type("Machine", (BrokerMachine,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            deadline=None,
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.reuse, Phase.generate, Phase.shrink],
        ),
    )


@pytest.mark.timeout(600)  # a failure takes its time to become a short one
@pytest.mark.parametrize("server", ["fakeredis", "valkey"])
def test_the_broker_does_what_its_model_does(request: pytest.FixtureRequest, server: str) -> None:
    run_machine(request, server, examples=5, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("server", "examples"),
    [
        ("valkey", 40),
        # The runs are the same ones each time, and in CI time is short.
        pytest.param("valkey", 100, marks=pytest.mark.long),
        pytest.param("fakeredis", 100, marks=pytest.mark.long),
    ],
)
def test_the_broker_does_what_its_model_does_in_many_runs(
    request: pytest.FixtureRequest, server: str, examples: int
) -> None:
    run_machine(request, server, examples=examples, steps=50)
