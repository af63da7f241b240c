"""The server as a process: its address, its signals, its log, and several of it on one socket."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.sse import open_stream
from tests.support.wait import wait_until, wait_until_sync
from tickertape.api.serving.server import serve
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.processes import START_METHOD
from tickertape.runtime.settings import Settings

# Each test starts processes and waits for their end.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = """
import json, sys
from tickertape.api.serving.server import serve
from tickertape.runtime.settings import Settings
from tickertape.runtime import logs

options = json.loads(sys.argv[1])
logs.configure()
settings = Settings(**options.pop("settings"))
raise SystemExit(serve(settings, configure_logs=logs.configure, **options))
"""

# The signal arrives when the server exists and its event loop does not. The signal handler of that
# moment used to raise SystemExit, which a loop under construction may swallow.
SIGNAL_BEFORE_THE_LOOP = """
import os, signal
from tickertape.api.serving.draining_server import DrainingServer

signal.signal(signal.SIGTERM, lambda *_: os._exit(3))
begin = DrainingServer.serve

def signalled(self, sockets=None):
    os.kill(os.getpid(), signal.SIGTERM)
    return begin(self, sockets)

DrainingServer.serve = signalled
"""


class ServerProcess:
    """A server process; its log is read from a file."""

    def __init__(self, log_path: Path, options: dict[str, Any], before: str = "") -> None:
        self._log_path = log_path
        with log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", before + SERVE, json.dumps(options)],
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        return self._log_path.read_text()

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = [line for line in self.log.splitlines() if line.startswith("{")]
        return [line for line in map(json.loads, lines) if line["event"] == name]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.events('listening')[0]['port']}"

    def wait_until_ready(self, processes: int = 1) -> None:
        wait_until_sync(
            lambda: len(self.events("ready for requests")) >= processes,
            timeout_s=90,
            description="the server is ready",
        )

    def stop(self, number: int = signal.SIGTERM) -> float:
        """Send the signal; returns how many seconds the process took to end."""
        begun_s = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        return time.monotonic() - begun_s


@contextlib.contextmanager
def server_process(log_path: Path, redis_url: str, **options: Any) -> Iterator[ServerProcess]:
    settings = {"redis_url": redis_url, "drain_delay_s": 0, **options.pop("settings", {})}
    before = options.pop("before", "")
    server = ServerProcess(
        log_path, {"settings": settings, "host": "127.0.0.1", "port": 0, **options}, before
    )
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_open_streams_in_order_and_the_process_soon(
    redis_url: str, tmp_path: Path, worker: Rig, number: int
) -> None:
    request_id = await worker.begin()
    conversation = await worker.submit(conversation_id="c1", on_busy="queue")
    with server_process(tmp_path / "log", redis_url) as server:
        server.wait_until_ready()
        urls = [f"{server.url}/chat/{request_id}/stream"] * 10
        urls += [f"{server.url}/chat/{conversation}/stream"]
        async with contextlib.AsyncExitStack() as opened:
            streams = [await opened.enter_async_context(open_stream(url)) for url in urls]
            readers = [aiter(stream) for stream in streams]
            for reader in readers:
                await anext(reader)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop, number))
            for stream, reader in zip(streams, readers, strict=True):
                # This also checks for an orderly end, because aiohttp raises for an aborted body.
                async for _ in reader:
                    pass
                assert stream.parser.retry_ms is not None
            took_s = await stopping
    # Well below the grace period of running calls, which a hanging stream would use up.
    assert took_s < 3
    assert server.process.returncode == 0
    assert "error" not in server.log


async def test_raw_text_streams_are_aborted_after_the_drain(
    redis_url: str, tmp_path: Path, worker: Rig
) -> None:
    request_id = await worker.begin()
    await worker.type("half")
    with server_process(tmp_path / "log", redis_url, settings={"drain_s": 0.1}) as server:
        server.wait_until_ready()
        url = f"{server.url}/chat/{request_id}/stream?format=text"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            assert await answer.content.readany() == b"half"
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.content.read()
            assert await stopping < 3
    assert "without completing" not in server.log


def test_a_signal_before_the_event_loop_runs_is_handled(redis_url: str, tmp_path: Path) -> None:
    with server_process(tmp_path / "log", redis_url, before=SIGNAL_BEFORE_THE_LOOP) as server:
        assert server.process.wait(20) == 0
    assert "error" not in server.log


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = f"cannot listen on 127.0.0.1:{port}: Address already in use; "
        with pytest.raises(SettingsInvalid, match=f"^{re.escape(said)}[^\n]*$"):
            serve(Settings(redis_url="redis://127.0.0.1:1"), "127.0.0.1", port)


@pytest.mark.parametrize(
    ("settings", "host", "said"),
    [
        ({}, "0.0.0.0", "--host 0.0.0.0 would accept calls from everyone"),
        ({"api_keys": "nonsense"}, "127.0.0.1", "TICKERTAPE_API_KEYS"),
        ({"api_keys": "ada:a-key-of-ada-0123"}, "no.such.host.invalid", "cannot listen on"),
        ({"redis_url": None}, "127.0.0.1", "REDIS_URL is not set"),
    ],
)
@pytest.mark.parametrize("processes", [1, 2])
def test_an_address_that_needs_keys_is_refused_at_the_start(
    settings: dict[str, Any], host: str, said: str, processes: int
) -> None:
    checked = Settings(**{"redis_url": "redis://127.0.0.1:1", **settings})
    with pytest.raises(SettingsInvalid) as refused:
        serve(checked, host, 0, processes=processes)
    assert said in str(refused.value)
    assert "nonsense" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_an_api_without_keys_on_all_addresses_accepts_only_loopback_host_names(
    redis_url: str, tmp_path: Path
) -> None:
    options = {"host": "0.0.0.0", "behind_loopback": True}
    with server_process(tmp_path / "log", redis_url, **options) as server:
        server.wait_until_ready()
        async with httpx2.AsyncClient(base_url=server.url) as client:
            assert (await client.get("/roles")).status_code == 200
            rebound = await client.get("/roles", headers={"Host": "evil.example"})
    assert rebound.json()["error"]["code"] == "forbidden_host"


async def test_data_of_a_later_release_end_the_process(
    redis_url: str, tmp_path: Path, worker: Rig
) -> None:
    await worker.connections.ask("HSET", KEYS.agreement(), "format_min", 9, "format_max", 9)
    with server_process(tmp_path / "log", redis_url) as other:
        assert other.process.wait(30) == 1
    (line,) = other.events("giving up")
    assert "format 9 or later" in line["reason"]


async def test_another_partition_count_has_no_effect_and_is_warned_about(
    redis_url: str, tmp_path: Path, worker: Rig
) -> None:
    await worker.connections.agree_on_partitions(1)
    with server_process(tmp_path / "log", redis_url, settings={"partitions": 2}) as other:
        other.wait_until_ready()
    (line,) = other.events("TICKERTAPE_PARTITIONS has no effect")
    assert (line["setting"], line["in_use"]) == (2, 1)


def test_the_log_holds_no_query_no_prompt_and_no_key(redis_url: str, tmp_path: Path) -> None:
    settings = {"api_keys": "ada:secret-key-of-ada"}
    with server_process(tmp_path / "log", redis_url, settings=settings) as server:
        server.wait_until_ready()
        headers = {"Authorization": "Bearer secret-key-of-ada"}
        with httpx2.Client(base_url=server.url, headers=headers, verify=False) as client:
            assert client.post("/chat", json={"message": "secret-prompt"}).status_code == 202
            assert client.get("/chat?limit=1&x=secret-query").status_code == 200
            assert client.post("/chat", json={"secret-field": 1}).status_code == 400
        server.stop()
    assert "secret" not in server.log
    assert redis_url not in server.log


def test_the_limit_of_open_files_is_raised(redis_url: str, tmp_path: Path) -> None:
    with server_process(tmp_path / "log", redis_url) as server:
        server.wait_until_ready()
        limits = Path(f"/proc/{server.process.pid}/limits").read_text().splitlines()
    (line,) = [line for line in limits if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard


def children_of(pid: int) -> list[int]:
    return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


async def test_several_processes_share_a_socket_and_a_killed_one_is_replaced(
    redis_url: str, tmp_path: Path
) -> None:
    with server_process(tmp_path / "log", redis_url, processes=2) as server:
        server.wait_until_ready(2)
        first = children_of(server.process.pid)
        assert len(first) == 2
        os.kill(first[0], signal.SIGKILL)
        server.wait_until_ready(3)
        assert len(children_of(server.process.pid)) == 2
        async with httpx2.AsyncClient(base_url=server.url, verify=False) as client:
            answer = await client.post("/chat", json={"message": "hi"})
        assert answer.status_code == 202
        request_id = answer.json()["request_id"]
        url = f"{server.url}/chat/{request_id}/stream"
        async with contextlib.AsyncExitStack() as opened:
            for _ in range(4):
                stream = await opened.enter_async_context(open_stream(url))
                await anext(aiter(stream))
            assert await asyncio.to_thread(server.stop) < 5
    assert server.process.returncode == 0
    assert len(server.events("process was killed")) == 1


async def test_a_process_that_is_stopped_alone_ends_its_calls_and_is_replaced(
    redis_url: str, tmp_path: Path
) -> None:
    with server_process(tmp_path / "log", redis_url, processes=2) as server:
        server.wait_until_ready(2)
        ended, kept = children_of(server.process.pid)
        os.kill(ended, signal.SIGTERM)
        server.wait_until_ready(3)
        assert ended not in children_of(server.process.pid)
        assert kept in children_of(server.process.pid)
    assert [each["pid"] for each in server.events("process ended")] == [ended]


@pytest.mark.skipif(START_METHOD != "fork", reason="children import everything again")
async def test_processes_of_one_address_import_nothing_again(
    redis_url: str, tmp_path: Path
) -> None:
    with server_process(tmp_path / "log", redis_url, processes=3) as server:
        server.wait_until_ready(3)
        children = children_of(server.process.pid)
        assert max(map(own_cpu_s, children)) < own_cpu_s(server.process.pid) / 3


def own_cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


async def test_no_process_outlives_the_one_that_started_it(redis_url: str, tmp_path: Path) -> None:
    with server_process(tmp_path / "log", redis_url, processes=2) as server:
        server.wait_until_ready(2)
        children = children_of(server.process.pid)
        server.process.kill()
        server.process.wait()
        await wait_until(
            lambda: not any(map(is_running, children)), description="the children have ended"
        )


async def test_processes_that_cannot_start_exit_together(
    redis_url: str, tmp_path: Path, worker: Rig
) -> None:
    await worker.connections.ask("HSET", KEYS.agreement(), "format_min", 9, "format_max", 9)
    with server_process(tmp_path / "two", redis_url, processes=2) as two:
        assert two.process.wait(30) == 1
    assert two.events("giving up")
