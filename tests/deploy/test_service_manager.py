"""An API and a worker as services of systemd: readiness, signs of life, and an inherited socket."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.children import serve_when_allowed
from tests.support.deployment import Deployment
from tests.support.programs import START_S, Program
from tests.support.servers import ValkeyServer, open_port
from tests.support.tasks import running
from tests.support.wait import wait_until, wait_until_sync
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime import service_manager
from tickertape.runtime.processes import run_processes
from tickertape.runtime.siblings import Siblings

READY, ALIVE, STOPPING = "READY=1", "WATCHDOG=1", "STOPPING=1"
WATCHDOG_S = 2


class Manager:
    """The socket on which systemd hears a service."""

    def __init__(self, path: Path) -> None:
        self.variables = {
            "NOTIFY_SOCKET": str(path),
            "WATCHDOG_USEC": str(WATCHDOG_S * 1_000_000),
        }
        self.states: list[str] = []
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._channel.bind(str(path))
        self._channel.setblocking(False)

    def heard(self) -> list[str]:
        """All states so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.states.append(self._channel.recv(1024).decode())
        return self.states

    async def hears(self, state: str, times: int = 1) -> None:
        """Wait for a state; each of several processes takes its time to start."""
        await wait_until(
            lambda: self.heard().count(state) >= times,
            timeout_s=START_S * times,
            description=f"the service manager to hear {state} {times} times, heard {self.states}",
        )

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    opened = Manager(tmp_path / "notify")
    yield opened
    opened.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as opened:
        yield opened


def port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["api", "worker"])
async def test_a_service_is_ready_when_it_can_work_and_gives_signs_of_life(
    deployment: Deployment, own_redis: ValkeyServer, manager: Manager, name: str
) -> None:
    deployment.settings.update(manager.variables)
    own_redis.stop()
    program = deployment.start(name, *_arguments(name))
    await program.logged("waiting for Redis")
    assert READY not in manager.heard()
    own_redis.start()
    await manager.hears(READY)
    await manager.hears(ALIVE, times=3)
    program.signal(signal.SIGTERM)
    await manager.hears(STOPPING)
    assert await program.ended() == 0
    assert [state for state in manager.heard() if state != ALIVE] == [READY, STOPPING]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["api", "worker"])
async def test_the_parent_of_several_processes_reports_for_all(
    deployment: Deployment, manager: Manager, name: str
) -> None:
    deployment.settings.update(manager.variables)
    program = deployment.start(name, *_arguments(name), "--processes=2")
    await manager.hears(READY)
    await manager.hears(ALIVE, times=3)
    program.signal(signal.SIGTERM)
    assert await program.ended() == 0
    assert [state for state in manager.heard() if state != ALIVE] == [READY, STOPPING]


def test_several_processes_are_ready_when_the_last_one_is(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.variables["NOTIFY_SOCKET"])
    siblings = Siblings(2)
    directory = tmp_path / "children"
    directory.mkdir()

    def watch() -> None:
        try:
            wait_until_sync(lambda: len([*directory.iterdir()]) == 2, description="both run")
            wait_until_sync(lambda: any(siblings.ready), description="one is ready")
            assert manager.heard() == []
            (directory / "go").touch()
            wait_until_sync(lambda: manager.heard() == [READY], description="the manager hears it")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        arguments = (str(directory), siblings)
        assert run_processes(2, serve_when_allowed, arguments, siblings=siblings) == 0
        watching.result()


@pytest.mark.slow
async def test_of_two_services_on_one_socket_each_restarts_and_no_call_is_refused(
    deployment: Deployment, listener: socket.socket
) -> None:
    url = f"http://127.0.0.1:{port_of(listener)}"
    answered = 0

    async def call() -> None:
        nonlocal answered
        while True:
            # A connection of its own for each call, as new clients have.
            async with Caller(url, headers={"Connection": "close"}) as caller:
                answer = await caller.client.get("/healthz")
                assert answer.status_code == 200
            answered += 1
            await asyncio.sleep(0)

    # The socket has another service behind it, so there is no balancer that has to notice.
    deployment.settings["TICKERTAPE_DRAIN_DELAY_S"] = "0"
    first, second = [_activated(deployment, listener) for _ in range(2)]
    await asyncio.gather(_ready(first), _ready(second))
    async with running(call()):
        first.signal(signal.SIGTERM)
        assert await first.ended() == 0
        await _ready(_activated(deployment, listener))
        second.signal(signal.SIGTERM)
        assert await second.ended() == 0
        before = answered
        await wait_until(lambda: answered > before, description="a call after the restarts")


@pytest.mark.slow
async def test_calls_that_come_before_the_service_wait_in_the_socket(
    deployment: Deployment, listener: socket.socket
) -> None:
    async with Caller(f"http://127.0.0.1:{port_of(listener)}") as caller:
        async with asyncio.TaskGroup() as group:
            early = group.create_task(caller.client.get("/healthz"))
            await _ready(_activated(deployment, listener))
        assert early.result().status_code == 200


def test_a_descriptor_that_is_no_listening_socket_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as closed:
        monkeypatch.setattr(service_manager, "_FIRST_DESCRIPTOR", closed.fileno())
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(SettingsInvalid, match="is not a listening TCP socket: write Listen"):
            service_manager.inherited_sockets()


def test_the_sockets_of_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert service_manager.inherited_sockets() == []


def test_without_a_service_manager_nothing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.notify(service_manager.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", "/nothing/listens/here")
    service_manager.notify(service_manager.READY)


async def test_a_process_whose_loops_hang_gives_no_sign_of_life(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**manager.variables, "WATCHDOG_USEC": "2000"}.items():
        monkeypatch.setenv(name, value)
    is_alive = False
    async with running(service_manager.keep_watchdog(lambda: is_alive)):
        for _ in range(5):
            await asyncio.sleep(0.002)
        assert manager.heard() == []
        is_alive = True
        await manager.hears(ALIVE)


async def test_a_process_of_which_no_sign_of_life_is_wanted_gives_none(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.variables["NOTIFY_SOCKET"])
    for limit, pid in (("", ""), ("0", ""), ("1000", str(os.getpid() + 1))):
        monkeypatch.setenv("WATCHDOG_USEC", limit)
        monkeypatch.setenv("WATCHDOG_PID", pid)
        await service_manager.keep_watchdog()
        service_manager.beat_watchdog()
    assert manager.heard() == []


def _arguments(name: str) -> tuple[str, ...]:
    return ("api", "--port=0") if name == "api" else (name,)


def _activated(deployment: Deployment, listener: socket.socket) -> Program:
    # The socket takes the place of the port in the command line.
    return deployment.start_activated(listener, "api", f"--port={open_port()}")


async def _ready(program: Program) -> None:
    await program.logged("ready for requests")
