"""A real Prometheus with docs/deploy/monitoring/, whose alerts wait seconds instead of minutes.

`prometheus.yml` and `alerts.yml` run as they are shipped, except for the targets, the intervals,
and the `for:` of each alert, whose minutes become seconds.
"""

import contextlib
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from tests.deploy.front import program
from tests.deploy.monitoring import FOLDER
from tests.support.callers import Caller
from tests.support.servers import open_port
from tests.support.wait import wait_until
from tickertape.cli.up.spawn import spawn, stop

# Longer than a scrape takes while Redis does not answer.
_INTERVAL = "2s"
_TARGETS = {
    "tickertape-api": '["10.0.0.11:9100", "10.0.0.12:9100"]',
    "tickertape-worker": '["10.0.0.11:8001", "10.0.0.12:8001"]',
    "tickertape-deliver": '["10.0.0.11:8002", "10.0.0.12:8002"]',
}


class Prometheus:
    """Queries a running Prometheus, which has `targets` targets."""

    def __init__(self, client: httpx2.AsyncClient, targets: int) -> None:
        self._client = client
        self._targets = targets

    async def query(self, expr: str) -> list[dict[str, Any]]:
        """The samples now: `metric` has the labels, `value` the time and the number."""
        return await self._result("query", query=expr)

    async def query_range(
        self, expr: str, *, start_s: float, end_s: float, step_s: float
    ) -> list[dict[str, Any]]:
        """The series of a time: `metric` has the labels, `values` the times and the numbers."""
        return await self._result(
            "query_range", query=expr, start=str(start_s), end=str(end_s), step=str(step_s)
        )

    async def firing(self) -> dict[str, dict[str, Any]]:
        """The alerts that fire now by name."""
        answer = await self._client.get("/api/v1/alerts")
        return {
            alert["labels"]["alertname"]: alert
            for alert in answer.json()["data"]["alerts"]
            if alert["state"] == "firing"
        }

    async def has_fired(self, within_s: float) -> set[str]:
        """The alerts that have fired within this time."""
        window = f"[{int(within_s)}s]"
        samples = await self.query(f'last_over_time(ALERTS{{alertstate="firing"}}{window})')
        return {sample["metric"]["alertname"] for sample in samples}

    async def fires(self, name: str, *, timeout_s: float) -> dict[str, Any]:
        """Wait until an alert fires, and return it."""

        async def does() -> list[dict[str, Any]]:
            return [alert for each, alert in (await self.firing()).items() if each == name]

        (fired,) = await wait_until(does, timeout_s=timeout_s, description=f"{name} to fire")
        return dict(fired)

    async def scrapes_all(self) -> None:
        """Wait until each target has answered, and no alert fires."""

        async def does() -> bool:
            # A target that was never scraped has no sample.
            up = await self.query("up == 1")
            are_up = len(up) == self._targets
            return are_up and not await self.firing()

        await wait_until(does, timeout_s=90, description="Prometheus to scrape every target")

    async def _result(self, path: str, **parameters: str) -> list[dict[str, Any]]:
        answer = await self._client.get(f"/api/v1/{path}", params=parameters)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["data"]["result"])


@contextlib.asynccontextmanager
async def running_prometheus(
    folder: Path, targets: Mapping[str, Sequence[int]]
) -> AsyncIterator[Prometheus]:
    """Prometheus, which scrapes these ports of this machine for each job."""
    port, log = open_port(), folder / "prometheus.log"
    write_configuration(folder, targets)
    argv = [
        program("prometheus"), f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with log.open("wb") as output:
        process = spawn(argv, cwd=folder, stdout=output, stderr=output)
    try:
        async with Caller(f"http://127.0.0.1:{port}") as caller:

            async def is_ready() -> bool:
                with contextlib.suppress(httpx2.TransportError):
                    return (await caller.client.get("/-/ready")).status_code == 200
                return False

            await wait_until(is_ready, timeout_s=20, description="Prometheus to be ready")
            yield Prometheus(caller.client, sum(map(len, targets.values())))
    finally:
        stop(process, grace_s=5)
        sys.stdout.write(f"--- prometheus\n{log.read_text()}")


def write_configuration(folder: Path, targets: Mapping[str, Sequence[int]]) -> None:
    """Write the shipped files into `folder`, with these targets and short times."""
    text = (FOLDER / "prometheus.yml").read_text("utf-8")
    for job, shipped in _TARGETS.items():
        ports = ", ".join(f'"127.0.0.1:{port}"' for port in targets[job])
        assert shipped in text
        text = text.replace(shipped, f"[{ports}]")
    text, count = re.subn(r"_interval: 15s", f"_interval: {_INTERVAL}", text)
    assert count == 2
    (folder / "prometheus.yml").write_text(text, "utf-8")
    rules, count = re.subn(r"for: (\d+)m", r"for: \1s", (FOLDER / "alerts.yml").read_text("utf-8"))
    assert count
    (folder / "alerts.yml").write_text(rules, "utf-8")
