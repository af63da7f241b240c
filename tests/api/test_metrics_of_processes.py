"""Several API processes on one address: a scrape of any of them has the numbers of all."""

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.api.test_server import ServerProcess, children_of, server_process
from tests.support.wait import wait_until
from tickertape.api.serving.server import serve
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ACCEPTED = 'tickertape_submits_total{outcome="accepted"}'
PROCESSES = "tickertape_api_processes"
SUBMITS = 12


async def read(server: ServerProcess, sample: str) -> float:
    """The sample as the next process shows it: each scrape is a connection of its own."""
    (listening,) = server.events("listening for operators")
    async with httpx2.AsyncClient(verify=False) as scraper:
        text = (await scraper.get(f"http://127.0.0.1:{listening['port']}/metrics")).text
    (line,) = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(line.rpartition(" ")[2])


async def wait_for(server: ServerProcess, sample: str, value: float) -> None:
    """Wait until ten scrapes in a row have the value."""

    async def does() -> bool:
        return [await read(server, sample) for _ in range(10)] == [value] * 10

    await wait_until(does, timeout_s=20, description=f"{sample} is {value}")


@contextlib.contextmanager
def two_processes(redis_url: str, directory: Path) -> Iterator[ServerProcess]:
    """A server of two processes with a port of operators, both of which are ready."""
    settings = {"metrics_port": 0}
    with server_process(directory / "log", redis_url, processes=2, settings=settings) as server:
        server.wait_until_ready(2)
        yield server


async def submit(server: ServerProcess, count: int, *, ends: bool = False) -> None:
    """Submit requests, each by a connection of its own, and cancel them if it `ends` them."""
    for _ in range(count):
        async with httpx2.AsyncClient(base_url=server.url, verify=False) as client:
            answer = await client.post("/chat", json={"message": "hi"})
            assert answer.status_code == 202
            if ends:
                await client.post(f"/chat/{answer.json()['request_id']}/cancel")


async def test_a_scrape_of_one_process_counts_for_all_also_after_one_was_killed(
    redis_url: str, tmp_path: Path
) -> None:
    with two_processes(redis_url, tmp_path) as server:
        await wait_for(server, PROCESSES, 2)
        await submit(server, SUBMITS)
        await wait_for(server, ACCEPTED, SUBMITS)
        os.kill(children_of(server.process.pid)[0], signal.SIGKILL)
        server.wait_until_ready(3)
        await wait_for(server, PROCESSES, 2)
        # What the killed process had counted is not forgotten.
        await wait_for(server, ACCEPTED, SUBMITS)
        await submit(server, 1)
        await wait_for(server, ACCEPTED, SUBMITS + 1)


async def test_the_buckets_of_a_histogram_are_those_of_all_processes(
    redis_url: str, tmp_path: Path
) -> None:
    with two_processes(redis_url, tmp_path) as server:
        await submit(server, SUBMITS, ends=True)
        for sample in ("_count", '_bucket{le="300.0"}', '_bucket{le="+Inf"}'):
            await wait_for(server, f"tickertape_cancel_seconds{sample}", SUBMITS)


async def test_a_process_that_hangs_is_missing_and_replaced_and_its_counts_are_kept(
    redis_url: str, tmp_path: Path
) -> None:
    with two_processes(redis_url, tmp_path) as server:
        await submit(server, SUBMITS)
        await wait_for(server, ACCEPTED, SUBMITS)
        hanging = children_of(server.process.pid)[0]
        os.kill(hanging, signal.SIGSTOP)
        (listening,) = server.events("listening for operators")
        limits = httpx2.Timeout(1)

        async def shows_one() -> bool:
            # The process that hangs takes every other connection.
            async with httpx2.AsyncClient(verify=False, timeout=limits) as scraper:
                try:
                    url = f"http://127.0.0.1:{listening['port']}/metrics"
                    text = (await scraper.get(url)).text
                except httpx2.TransportError:
                    return False
            assert f"{ACCEPTED} {SUBMITS}.0" in text
            return f"{PROCESSES} 1.0" in text

        await wait_until(shows_one, timeout_s=18, description="one process is at work")
        await wait_until(
            lambda: len(server.events("ready for requests")) == 3,
            timeout_s=60,
            description="the process that hangs is replaced",
        )
        (hang,) = server.events("process hangs")
        assert hang["pid"] == hanging
        await wait_for(server, PROCESSES, 2)
        await wait_for(server, ACCEPTED, SUBMITS)


def test_a_port_of_operators_that_is_in_use_names_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(redis_url="redis://127.0.0.1:1", metrics_port=other.getsockname()[1])
        with pytest.raises(SettingsInvalid, match="another TICKERTAPE_METRICS_HOST or"):
            serve(settings, "127.0.0.1", 0)
