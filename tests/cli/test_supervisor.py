"""Processes are kept running, reported, and ended in order. The processes are small shells."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.wait import wait_until
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.up import restart
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.service import Service
from tickertape.cli.up.supervisor import Supervisor, SupervisorTiming
from tickertape.runtime.backoff import Backoff

# Notes its start and its end, and lives until SIGTERM.
STEADY = """
trap 'echo "$NAME ends" >>"$JOURNAL"; exit 0' TERM
echo "$NAME starts $VALUE" >>"$JOURNAL"
while :; do sleep 0.02; done
"""
STUBBORN = """
trap '' TERM
echo "$NAME starts" >>"$JOURNAL"
while :; do sleep 0.02; done
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restart, "Backoff", lambda *_: Backoff(0.01, 0.01))


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """SIGHUP arrives, also if the tests run under nohup, which our children and we respect."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Fake:
    """A server that a test can end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.code: int | None = None

    def exit_code(self) -> int | None:
        return self.code


class Stage:
    """A supervisor and what can be seen of it."""

    def __init__(self, directory: Path) -> None:
        self.said: list[str] = []
        self.journal = directory / "journal"
        self.services: list[Service[Any]] = []
        self.timing = SupervisorTiming(tick_s=0.01)
        self._directory = directory

    def child(self, name: str, script: str = STEADY) -> ChildProcess:
        log_path = self._directory / f"{name}.log"
        return ChildProcess(name, ["sh", "-c", script], log_path, ready_event="working")

    def notes(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    @contextlib.asynccontextmanager
    async def supervising(self, *groups: list[ChildProcess]) -> AsyncIterator[asyncio.Task[int]]:
        def environment_of(child: ChildProcess, known: Mapping[str, str]) -> Mapping[str, str]:
            own = {"NAME": child.name, "JOURNAL": str(self.journal), "PATH": os.environ["PATH"]}
            return {**own, "VALUE": "", **known}

        supervisor = Supervisor(
            self.services, groups, environment_of, self.said.append, self.timing
        )
        task = asyncio.create_task(supervisor.run(), name="supervisor")
        try:
            yield task
        finally:
            if not task.done():
                signal.raise_signal(signal.SIGTERM)
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, *notes: str) -> None:
        await wait_until(
            lambda: all(note in self.notes() for note in notes), description=f"journal: {notes}"
        )

    def pid_of(self, child: ChildProcess) -> int:
        assert child._process is not None
        return child._process.pid


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_ends_the_groups_one_after_the_other(
    stage: Stage, number: signal.Signals
) -> None:
    before = signal.getsignal(number)
    groups = [stage.child("api")], [stage.child("worker-1"), stage.child("worker-2")]
    async with stage.supervising(*groups) as task:
        await stage.until("api starts ", "worker-1 starts ", "worker-2 starts ")
        signal.raise_signal(number)
        assert await task == Exit.OK
    ends = [note for note in stage.notes() if note.endswith("ends")]
    assert ends[0] == "api ends"
    assert sorted(ends[1:]) == ["worker-1 ends", "worker-2 ends"]
    assert signal.getsignal(number) is before


async def test_a_second_signal_kills_what_does_not_end(
    stage: Stage,
) -> None:
    stage.timing = SupervisorTiming(tick_s=0.01, last_grace_s=0.05)
    stubborn = stage.child("worker-1", STUBBORN)
    async with stage.supervising([stubborn]) as task:
        await stage.until("worker-1 starts")
        signal.raise_signal(signal.SIGINT)
        await wait_until(lambda: stage.said, description="it says that it stops")
        signal.raise_signal(signal.SIGINT)
        assert await task == Exit.INTERRUPTED
    assert stubborn.exit_code() == -signal.SIGKILL
    assert stage.said[-1] == "worker-1 did not end in time and was killed"


async def test_a_terminal_that_closes_and_signals_twice_ends_nothing_early(stage: Stage) -> None:
    stubborn = stage.child("worker-1", STUBBORN)
    stage.timing = SupervisorTiming(tick_s=0.01, drain_s=0.2, release_s=0, last_grace_s=0)
    async with stage.supervising([stubborn]) as task:
        await stage.until("worker-1 starts")
        for _ in range(2):
            signal.raise_signal(signal.SIGHUP)
        assert await task == Exit.OK


async def test_the_first_signal_says_how_long_the_end_may_take(stage: Stage) -> None:
    stage.timing = SupervisorTiming(tick_s=0.01, drain_s=5)
    async with stage.supervising([stage.child("api")], [stage.child("worker-1")]) as task:
        await stage.until("api starts ", "worker-1 starts ")
        signal.raise_signal(signal.SIGINT)
        assert await task == Exit.OK
    assert stage.said[0] == (
        "Stopping: answers have up to 10 s to end. Press Ctrl+C again to stop at once."
    )


async def test_a_child_that_does_not_drain_in_time_is_killed(
    stage: Stage,
) -> None:
    stage.timing = SupervisorTiming(tick_s=0.01, drain_s=0.0, release_s=0.05)
    stubborn = stage.child("worker-1", STUBBORN)
    async with stage.supervising([stubborn]) as task:
        await stage.until("worker-1 starts")
        signal.raise_signal(signal.SIGINT)
        assert await task == Exit.OK
    assert stubborn.exit_code() == -signal.SIGKILL


async def test_a_child_that_is_killed_is_reported_and_started_again(stage: Stage) -> None:
    worker = stage.child("worker-1")
    async with stage.supervising([worker]):
        await stage.until("worker-1 starts ")
        os.kill(stage.pid_of(worker), signal.SIGKILL)
        await wait_until(lambda: len(stage.notes()) == 2, description="a second start")
    assert stage.said[0].startswith("worker-1 ended (killed by SIGKILL); starting it again in")


async def test_a_child_that_fails_at_its_start_ends_everything_with_its_code_and_words(
    stage: Stage,
) -> None:
    broken = stage.child("worker-1", "echo LEASE is wrong >&2; exit 7")
    async with stage.supervising([stage.child("api")], [broken]) as task:
        with pytest.raises(CommandFailed, match="LEASE is wrong") as failed:
            await task
    assert failed.value.code == 7
    assert "exit code 7" in str(failed.value)
    assert "worker-1.log" in str(failed.value)


async def test_a_wrong_setting_ends_everything_also_later(stage: Stage) -> None:
    worker = stage.child("worker-1", f'[ -e "$JOURNAL" ] && exit 2; {STEADY}')
    async with stage.supervising([worker]) as task:
        await stage.until("worker-1 starts ")
        os.kill(stage.pid_of(worker), signal.SIGKILL)
        with pytest.raises(CommandFailed) as failed:
            await task
    assert failed.value.code == Exit.USAGE


async def test_warnings_of_a_child_reach_the_terminal_and_the_rest_does_not(stage: Stage) -> None:
    script = """echo '{"event": "fine", "level": "info"}'
        echo '{"event": "role unknown", "level": "warning", "reason": "r"}' >&2
        """
    async with stage.supervising([stage.child("worker-1", script + STEADY)]):
        await wait_until(lambda: stage.said, description="something is said")
    assert stage.said[0] == "worker-1 | warning: role unknown reason=r"
    assert not any("fine" in line for line in stage.said)


async def test_a_child_is_ready_after_its_ready_event_and_not_while_it_restarts(
    stage: Stage,
) -> None:
    gate = stage.journal.with_name("gate")
    script = f"""while [ -e "{gate}" ]; do sleep 0.02; done
        echo '{{"event": "working"}}'
        {STEADY}"""
    worker = stage.child("worker-1", script)
    async with stage.supervising([worker]):
        await wait_until(lambda: worker.is_ready, description="it is ready")
        gate.touch()
        os.kill(stage.pid_of(worker), signal.SIGKILL)
        await wait_until(lambda: not worker.is_ready, description="it starts again")
        gate.unlink()
        await wait_until(lambda: worker.is_ready, description="it is ready again")


async def test_a_missing_program_is_reported(stage: Stage, tmp_path: Path) -> None:
    missing = ChildProcess("api", [str(tmp_path / "nothing")], tmp_path / "api.log")
    async with stage.supervising([missing]) as task:
        with pytest.raises(CommandFailed, match="api cannot be started"):
            await task


def service(stage: Stage, addresses: list[str]) -> tuple[Service[Fake], list[Fake]]:
    """A service that has the next address at each start."""
    started: list[Fake] = []

    @contextlib.contextmanager
    def open_server() -> Iterator[Fake]:
        started.append(Fake(addresses[len(started)]))
        yield started[-1]

    made = Service("redis", open_server, lambda server: {"VALUE": server.address})
    made.start()
    stage.services.append(made)
    return made, started


async def test_a_service_that_dies_is_restarted_and_children_run_on(stage: Stage) -> None:
    _, started = service(stage, ["one", "one"])
    async with stage.supervising([stage.child("worker-1")]):
        await stage.until("worker-1 starts one")
        started[0].code = -signal.SIGKILL
        await wait_until(lambda: "redis runs again" in stage.said, description="redis is back")
    assert stage.notes() == ["worker-1 starts one", "worker-1 ends"]
    assert stage.said[0].startswith("redis ended (killed by SIGKILL); starting it again in")


async def test_a_service_with_a_new_address_restarts_the_children_that_use_it(
    stage: Stage,
) -> None:
    _, started = service(stage, ["one", "two"])
    async with stage.supervising([stage.child("worker-1")]):
        await stage.until("worker-1 starts one")
        started[0].code = 1
        await stage.until("worker-1 ends", "worker-1 starts two")
    assert not any("worker-1 ended" in line for line in stage.said)
