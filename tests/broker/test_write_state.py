"""WriteState: what the server said about writes, and when connections become old."""

import asyncio

import pytest
import structlog
from redis.asyncio import Redis

from tests.support.servers import ValkeyServer
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.errors import WritesRefused
from tickertape.broker.rights import Rights
from tickertape.broker.write_state import WriteState, is_demotion

READONLY = "READONLY You can't write against a read only replica."
LOADING = "LOADING Valkey is loading the dataset in memory"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_server_that_stays_refused_makes_connections_old_once_a_second_at_most() -> None:
    clock = Clock()
    state = WriteState("redis://h", clock)
    for _ in range(1000):
        clock.now_s += 0.01
        state.refused(READONLY)
    assert 10 < state.generation < 30
    assert state.refusals == {"READONLY": 1000}


def test_another_primary_makes_connections_old_at_once_every_time() -> None:
    state = WriteState("redis://h", Clock())
    left: list[str] = []
    with state.watch(on_moved=lambda: left.append("a")):
        state.moved()
        state.moved()
    state.moved()
    assert state.generation == 3
    assert left == ["a", "a"]
    assert state.reason is None


def test_each_new_word_of_the_server_is_logged_once_and_so_is_the_end() -> None:
    clock = Clock()
    state = WriteState("redis://h", clock)
    with structlog.testing.capture_logs() as logged:
        for line in (1, 2):
            state.refused(f"{READONLY} script: on @user_script:{line}.")
        state.refused(LOADING)
        state.accepted()
        state.refused(LOADING)
        clock.now_s += 1.1
        state.accepted()
        state.accepted()
    assert state.reason is None
    assert [line["reason"] for line in logged[:2]] == [READONLY, LOADING]
    assert [line["event"] for line in logged] == [
        "Redis takes no writes",
        "Redis takes no writes",
        "Redis takes writes again",
    ]


@pytest.mark.parametrize("reply", ["ERR no", "WRONGTYPE x", "OOM x", "READONLYX y", "NOSCRIPT x"])
def test_other_errors_keep_the_connections(reply: str) -> None:
    assert not is_demotion(reply)


async def test_after_a_refusal_every_idle_connection_is_renewed_before_its_next_use(
    own_redis: ValkeyServer,
) -> None:
    connections = Connections(own_redis.url)
    async with Redis.from_url(own_redis.url) as other:

        async def ids() -> set[str]:
            listed = await other.client_list()
            return {each["id"] for each in listed if each["cmd"] in {"ping", "set"}}

        await asyncio.gather(*(connections.ask("PING") for _ in range(2)))
        before = await ids()
        assert len(before) == 2
        # A server without enough replicas refuses writes as a replica does.
        await other.config_set("min-replicas-to-write", 1)
        with pytest.raises(WritesRefused, match="NOREPLICAS Not enough good replicas"):
            await connections.ask("SET", "a", 1)
        assert connections.writes.generation > 0
        await other.config_set("min-replicas-to-write", 0)
        await asyncio.gather(*(connections.ask("SET", "a", 1) for _ in range(2)))

        async def are_gone() -> bool:
            return not before & await ids()

        await wait_until(are_gone, description="the old connections to be closed")
    await connections.aclose()


async def test_the_check_of_the_rights_is_refused_where_a_write_would_be_refused(
    own_redis: ValkeyServer,
) -> None:
    connections = Connections(own_redis.url)
    async with Redis.from_url(own_redis.url) as other:
        await Rights(connections).check()
        await other.replicaof("127.0.0.1", "1")
        with pytest.raises(WritesRefused, match="READONLY"):
            await Rights(connections).check()
        await other.replicaof("NO", "ONE")
        await Rights(connections).check()
    await connections.aclose()
