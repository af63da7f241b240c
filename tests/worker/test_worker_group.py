"""Several worker processes of one command are one worker for whoever reads its probes."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.api.test_server import children_of
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.programs import START_S, Program
from tests.support.rig import Rig, open_rig
from tests.support.script import Finish, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.conditions import Code, Conditions
from tickertape.runtime.siblings import Siblings
from tickertape.worker.group import Group
from tickertape.worker.readiness import OF_WORKER

UPSTREAM_FAILS = b'tickertape_condition{code="upstream"} 1.0\n'
COMPLETED = 'ended_total{code="",state="completed"}'
WELL = b'tickertape_condition{code="upstream"} 0.0\n'


def group_of(count: int, *others: bytes) -> Group:
    """A process of a group of `count`, of which `others` wrote these metrics a moment ago."""
    siblings = Siblings(count)
    for number, text in enumerate(others, 1):
        siblings.join(number)
        siblings.write(text)
    siblings.join(0)
    return Group(siblings, [])


def codes(group: Group) -> list[Code]:
    return [
        each.code for each in Conditions(OF_WORKER).with_those_of_others(group.conditions()).all
    ]


def test_a_group_is_not_ready_while_one_of_its_processes_is_not_at_work() -> None:
    assert codes(group_of(3, WELL)) == [Code.STARTING]
    assert codes(group_of(3, WELL, WELL)) == []


def test_a_group_has_the_conditions_of_each_of_its_processes() -> None:
    assert codes(group_of(3, WELL, UPSTREAM_FAILS)) == [Code.UPSTREAM]


def test_a_process_that_hangs_beside_others_is_not_for_the_service_manager_to_end() -> None:
    assert not group_of(3).is_another_at_work()
    assert group_of(3, WELL).is_another_at_work()


class TwoProcesses:
    """A worker of two processes, its probes, and the requests that it runs."""

    def __init__(self, program: Program, scraper: Caller, rig: Rig) -> None:
        self.program = program
        self.rig = rig
        self._scraper = scraper

    async def metrics(self) -> dict[str, float]:
        text = (await self._scraper.client.get("/metrics")).text
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (each.rpartition(" ") for each in lines)}

    async def shows(self, **expected: float) -> None:
        """Wait until each of ten scrapes, which any process may answer, has these values."""

        async def does() -> bool:
            for _ in range(10):
                found = await self.metrics()
                if any(
                    found[f"tickertape_worker_{name}"] != each for name, each in expected.items()
                ):
                    return False
            return True

        await wait_until(does, timeout_s=START_S, description=f"the metrics to be {expected}")

    async def is_ready(self) -> bool:
        try:
            return (await self._scraper.client.get("/readyz")).status_code == 200
        except httpx2.TransportError:
            return False

    async def become_ready(self) -> None:
        await wait_until(self.is_ready, timeout_s=START_S, description="both processes are ready")

    async def restart_of_one(self) -> None:
        """Kill a process, and wait for the one that replaces it."""
        claimed = len(self.program.records("working"))
        os.kill(children_of(self.program.process.pid)[0], signal.SIGKILL)
        await wait_until(
            lambda: len(self.program.records("working")) > claimed,
            timeout_s=START_S,
            description="a process replaces the one that was killed",
        )


@pytest.fixture
async def two(
    deployment: Deployment, redis_url: str, upstream: ScriptedUpstream
) -> AsyncIterator[TwoProcesses]:
    port = free_port()
    deployment.settings.update(
        TICKERTAPE_WORKER_HEALTH_PORT=str(port), TICKERTAPE_LEASE_S="2", REDIS_URL=redis_url
    )
    program = deployment.start("worker", "worker", "--processes=2", "--slots=3")
    headers = {"Connection": "close"}
    async with (
        Caller(f"http://127.0.0.1:{port}", headers=headers) as scraper,
        open_rig(redis_url) as rig,
    ):
        opened = TwoProcesses(program, scraper, rig)
        await opened.become_ready()
        yield opened


@pytest.mark.slow
async def test_the_processes_of_a_worker_share_work_probes_and_metrics(
    two: TwoProcesses, upstream: ScriptedUpstream, deployment: Deployment
) -> None:
    rest = asyncio.Event()
    # More than one process has slots for.
    for _ in range(5):
        upstream.enqueue([Text("a"), Wait(rest), Finish()])
    asked = [await two.rig.ask() for _ in range(5)]
    await two.shows(processes=2, slots=6, running=5, claiming=1, draining=0)
    rest.set()
    for each in asked:
        assert (await two.rig.ended(each)).status == "completed"
    names = {each["worker"] for each in two.program.records("request ended")}
    assert len(names) == 2
    await two.shows(**{COMPLETED: 5})
    await two.restart_of_one()
    await two.become_ready()
    # What the killed process had counted is not forgotten.
    await two.shows(**{COMPLETED: 5})
    two.program.signal(signal.SIGTERM)
    assert await two.program.ended() == 0
    # It logged an error, which is that a process was killed.
    deployment.programs.clear()


@pytest.mark.slow
async def test_a_process_that_is_stopped_alone_ends_its_answers_and_is_replaced(
    two: TwoProcesses, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    for _ in range(6):
        upstream.enqueue([Text("half "), Wait(rest), Text("whole"), Finish()])
    asked = [await two.rig.ask() for _ in range(6)]
    for each in asked:
        await two.rig.shows(each, "half ")
    os.kill(children_of(two.program.process.pid)[0], signal.SIGTERM)
    await two.program.logged("draining")
    rest.set()
    for each in asked:
        assert (await two.rig.ended(each)).status == "completed"
    await two.program.logged("process ended")
    await two.become_ready()
    await two.shows(processes=2, slots=6, claiming=1, draining=0)
    two.program.signal(signal.SIGHUP)
    assert await two.program.ended() == 0


@pytest.mark.slow
async def test_a_worker_of_several_processes_ends_its_answers_before_it_ends(
    two: TwoProcesses, upstream: ScriptedUpstream
) -> None:
    rest = asyncio.Event()
    upstream.enqueue([Text("half "), Wait(rest), Text("whole"), Finish()])
    request_id = await two.rig.ask()
    await two.rig.shows(request_id, "half ")
    # A terminal sends the signal to each process, and so the children get it twice.
    for pid in (two.program.process.pid, *children_of(two.program.process.pid)):
        os.kill(pid, signal.SIGINT)
    await two.program.logged("draining")
    rest.set()
    assert (await two.rig.ended(request_id)).status == "completed"
    assert await two.program.ended() == 0


@pytest.mark.slow
async def test_a_second_signal_hands_the_answers_of_all_processes_over_at_once(
    two: TwoProcesses, upstream: ScriptedUpstream
) -> None:
    upstream.enqueue([Text("half"), Wait(asyncio.Event())])
    request_id = await two.rig.ask()
    await two.rig.shows(request_id, "half")
    for _ in range(2):
        two.program.signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await two.program.logged("draining")
    assert await two.program.ended() == 0
    assert (await two.rig.record(request_id)).state == "queued"


@pytest.mark.slow
async def test_a_wrong_setting_of_several_processes_is_one_line_and_ends_all(
    deployment: Deployment, redis_url: str
) -> None:
    fields: dict[str, Any] = {"TICKERTAPE_WORKER_HEALTH_PORT": "1"}
    deployment.settings.update(fields, TICKERTAPE_WORKER_HEALTH_HOST="192.0.2.1")
    program = deployment.start("worker", "worker", "--processes=2")
    assert await program.ended() == 2
    (said,) = program.lines()
    assert said.startswith("tickertape: TICKERTAPE_WORKER_HEALTH_PORT is 1: cannot listen on")
    deployment.programs.clear()
