"""Each alert is caused for real, and a real Prometheus fires it, and no other alert."""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.deploy.monitored import SLOTS, Monitored, monitored
from tests.deploy.monitoring import rules
from tests.support.callers import Caller
from tests.support.deployment import port_of
from tests.support.programs import Program, command, environment
from tests.support.rig import open_rig
from tests.support.script import Finish, Pause, Role, Status, Text, Wait
from tests.support.servers import ValkeyServer
from tests.support.sse import collect
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Break(Protocol):
    """Breaks something."""

    __name__: str

    def __call__(self, parts: Monitored) -> Awaitable[None]: ...


@dataclass(frozen=True)
class Fault:
    """How to cause an alert, with which settings, and which other alerts may fire with it."""

    alert: str
    cause: Break
    settings: dict[str, Any]
    effects: frozenset[str]


FAULTS: dict[str, Fault] = {}
"""By the name of the function that causes it."""

# One of each kind of rule. `make test-long` causes the other alerts too, and the quick tests try
# every rule on made-up samples.
IN_CI = {
    "the_api_ends", "redis_ends", "the_upstream_refuses_the_key",
    "the_upstream_refuses_what_is_asked", "a_worker_dies_with_its_answers",
    "the_network_to_redis_is_slow",
}  # fmt: skip


def causes(alert: str, *effects: str, **settings: Any) -> Callable[[Break], Break]:
    """The function breaks something, so that the alert fires, and no other than `effects`."""

    def register(cause: Break) -> Break:
        FAULTS[cause.__name__] = Fault(alert, cause, settings, frozenset(effects))
        return cause

    return register


@causes("TickertapeApiDown", "TickertapeProcessDown")
async def the_api_ends(parts: Monitored) -> None:
    await parts.stop_api()


@causes("TickertapeRedisUnavailable")
async def redis_ends(parts: Monitored) -> None:
    parts.redis.stop()


@causes("TickertapeRedisRefusesWrites")
async def redis_misses_its_replicas(parts: Monitored) -> None:
    await parts.ask_redis("CONFIG SET min-replicas-to-write 1")


@causes("TickertapePushDown")
async def redis_has_no_connection_left_for_pushes(parts: Monitored) -> None:
    await parts.ask_redis("CONFIG SET maxclients 1", "CLIENT KILL TYPE pubsub")


@causes("TickertapeNoWorker", "TickertapeProcessDown", "TickertapeFunctionWithoutWorker")
async def all_workers_end(parts: Monitored) -> None:
    for number in range(len(parts.ports)):
        await parts.kill_worker(number)
    await parts.api.submit()


@causes("TickertapeFunctionWithoutWorker", "TickertapeLongWait")
async def a_function_has_lost_its_workers(parts: Monitored) -> None:
    async with open_rig(parts.redis.url) as rig:
        await rig.submit(pool="agent")


@causes("TickertapeUpstreamRefuses")
async def the_upstream_refuses_the_key(parts: Monitored) -> None:
    parts.upstream.models_status = 401
    parts.upstream.script = [Status(401)]
    # Prometheus sees the reason some seconds after the first failure, which a `for:` of minutes
    # waits out and one of seconds does not.
    await parts.api.submit()
    await parts.sees('tickertape_problem{code="upstream"} == 1')
    for _ in range(10):
        await parts.api.submit()


@causes("TickertapeRedisRefusesWrites")
async def redis_is_full(parts: Monitored) -> None:
    await parts.ask_redis("CONFIG SET maxmemory 1mb")


@causes("TickertapeSubmitsFail", queue_limit=4)
async def the_queue_is_full(parts: Monitored) -> None:
    parts.upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    answers = [await parts.api.client.post("/chat", json={"message": "hi"}) for _ in range(20)]
    assert {answer.status_code for answer in answers[10:]} == {503}


@causes("TickertapeRequestsFail")
async def the_upstream_refuses_what_is_asked(parts: Monitored) -> None:
    parts.upstream.script = [Status(400)]
    for _ in range(10):
        await parts.api.submit()


@causes("TickertapeLongWait")
async def all_slots_are_taken(parts: Monitored) -> None:
    parts.upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    for _ in range(len(parts.ports) * SLOTS + 1):
        await parts.api.submit()


@causes("TickertapeProcessDown")
async def a_worker_hangs(parts: Monitored) -> None:
    await parts.kill_worker(1)
    variables = environment(
        REDIS_URL=parts.redis.url, OPENAI_BASE_URL=parts.upstream.base_url, OPENAI_API_KEY="key",
        TICKERTAPE_WORKER_HEALTH_PORT=str(parts.ports[1]),
    )  # fmt: skip
    program = Program("worker", command("worker"), parts.folder, variables)
    parts.cleanups.callback(program.stop)
    parts.cleanups.callback(os.kill, program.process.pid, signal.SIGCONT)
    await parts.healthy()
    program.signal(signal.SIGSTOP)


@causes("TickertapeWorkersCrash", "TickertapeProcessDown")
async def a_worker_dies_with_its_answers(parts: Monitored) -> None:
    await a_worker_runs(parts, 2 * SLOTS)
    await parts.kill_worker(0)
    # The other worker has no free slot for them.
    await parts.start_worker(0)


@causes("TickertapeDeadRequests", "TickertapeProcessDown", max_crashes=1)
async def a_request_crashes_its_worker(parts: Monitored) -> None:
    await a_worker_runs(parts, 2 * SLOTS)
    await parts.kill_worker(0)


async def a_worker_runs(parts: Monitored, count: int) -> None:
    """Both workers run as many requests as they can, in the middle of an answer."""
    parts.upstream.script = [Role(), Text("a"), Wait(asyncio.Event())]
    for _ in range(count):
        await parts.api.submit()

    async def do() -> bool:
        return [await parts.running(number) for number in (0, 1)] == [SLOTS, SLOTS]

    await wait_until(do, description="both workers to be busy")


@causes("TickertapeSlowFirstToken")
async def the_upstream_thinks_for_long(parts: Monitored) -> None:
    parts.upstream.script = [Role(), Pause(11), Text("a"), Finish()]
    for _ in range(SLOTS):
        await parts.api.submit()


@causes("TickertapeLoopLag")
async def the_loops_stand_still_again_and_again(parts: Monitored) -> None:
    for _ in range(20):
        until_s = time.monotonic() + 0.4
        # This is the loop of the API and of the workers.
        while time.monotonic() < until_s:
            pass
        # Prometheus still gets its answers.
        await asyncio.sleep(0.1)


@causes("TickertapeRedisSlow")
async def the_network_to_redis_is_slow(parts: Monitored) -> None:
    # One reply takes 280 ms. A scrape, which needs several, must end before the next one begins.
    parts.proxy.delay_s = 0.14


@causes("TickertapeOutboxFull", history_bytes=1024)
async def the_history_has_no_room(parts: Monitored) -> None:
    await parts.sees('tickertape_outbox_lost_total{consumer="history"} == 0')
    for _ in range(3):
        await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)


@causes("TickertapeHistoryAway")
async def the_database_is_locked(parts: Monitored) -> None:
    other = sqlite3.connect(parts.database)
    parts.cleanups.callback(other.close)
    other.execute("BEGIN EXCLUSIVE")
    await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)


@causes("TickertapeOutboxWaits", "TickertapeProcessDown")
async def nothing_is_handed_on(parts: Monitored) -> None:
    await parts.kill_deliver()
    await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)


@causes("TickertapeReceiverFails")
async def a_receiver_refuses(parts: Monitored) -> None:
    parts.receiver.statuses.extend([500] * 100)
    await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)


@causes("TickertapeWebhooksGivenUp", "TickertapeReceiverFails")
async def a_receiver_is_gone(parts: Monitored) -> None:
    parts.receiver.statuses.append(410)
    await collect(parts.api.stream_url(await parts.api.submit()), parts.api.headers)


@causes("TickertapeSecretRefused")
async def a_file_of_keys_is_cut(parts: Monitored) -> None:
    parts.keys_file.write_text("ada:a-key-that-en", "utf-8")


@causes("TickertapeKeysRefused")
async def a_stranger_tries_keys(parts: Monitored) -> None:
    async with Caller(parts.api.url, "a-key-that-nobody-has") as stranger:
        calls = [stranger.client.get("/chat/a") for _ in range(120)]
        answers = await asyncio.gather(*calls)
    assert {answer.status_code for answer in answers} == {401}


@causes("TickertapeEdgeRefuses")
async def a_stranger_sends_garbage(parts: Monitored) -> None:
    for _ in range(120):
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(parts.api.url))
        writer.write(b"\x16\x03\x01 no head of a call\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "name",
    [each if each in IN_CI else pytest.param(each, marks=pytest.mark.long) for each in FAULTS],
)
async def test_an_alert_fires_by_its_fault_and_no_other_does(
    own_redis: ValkeyServer, tmp_path: Path, name: str
) -> None:
    fault = FAULTS[name]
    async with monitored(own_redis, tmp_path, **fault.settings) as parts:
        await fault.cause(parts)
        fired = await parts.prometheus.fires(fault.alert, timeout_s=90)
        # A template that Prometheus cannot fill in leaves its error in the sentence.
        assert "error" not in fired["annotations"]["summary"]
        assert {fault.alert} | await parts.has_fired() - fault.effects == {fault.alert}


def test_every_alert_is_caused() -> None:
    assert {fault.alert for fault in FAULTS.values()} == rules().keys()
    assert FAULTS.keys() > IN_CI


async def test_no_alert_fires_in_a_healthy_deployment_under_load(
    own_redis: ValkeyServer, tmp_path: Path
) -> None:
    async with monitored(own_redis, tmp_path) as parts:
        parts.upstream.script = [Role(), *[Text("word ")] * 200, Finish()]

        async def ask() -> None:
            until_s = time.monotonic() + 20
            while time.monotonic() < until_s:
                request_id = await parts.api.submit()
                events = await collect(parts.api.stream_url(request_id), parts.api.headers)
                assert events[-1].kind == "completed"

        async with asyncio.TaskGroup() as asking:
            for _ in range(2 * SLOTS):
                asking.create_task(ask())
        assert await parts.has_fired() == set()
        (rate,) = await parts.prometheus.query("sum(increase(tickertape_worker_deltas_total[1m]))")
        assert float(rate["value"][1]) > 5_000
