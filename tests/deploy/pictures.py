"""Makes the pictures of the dashboard, in good health and without workers.

`make pictures` runs an API, two workers and a Prometheus under load, sends the dashboard's own
queries to Prometheus, and draws the answers (tests/deploy/panels.py).
"""

import asyncio
import base64
import contextlib
import io
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tests.deploy.monitored import SLOTS, Monitored, monitored
from tests.deploy.monitoring import dashboard, panels, query_of
from tests.deploy.panels import COLUMN_PX, UNIT_PX, Answered, document
from tests.support.browser import connect, find_chromium, running_chromium
from tests.support.script import Finish, Pause, Role, Script, Text
from tests.support.servers import valkey_server
from tests.support.sse import collect
from tests.support.tasks import running
from tests.support.upstream import Call

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MAX_BYTES = 200_000
# In seconds of load; 4 samples are one point of the curves.
_LOAD_S, _STEP_S, _INTERVAL = 150, 4, "16s"
_WIDTH_PX = 24 * COLUMN_PX


async def make_pictures(folder: Path, *, load_s: float = _LOAD_S) -> None:
    """Write `dashboard.webp` after this time of load, and then `dashboard-no-worker.webp`."""
    executable = find_chromium()
    if executable is None:
        sys.exit("The pictures need Chromium, which is not installed.")
    height = max(each["gridPos"]["y"] + each["gridPos"]["h"] for each in dashboard()["panels"])
    with (
        tempfile.TemporaryDirectory() as directory,
        valkey_server(append_only=True) as redis,
        running_chromium(executable) as browser,
    ):
        async with monitored(redis, Path(directory), lease_s=10) as parts:
            parts.upstream.script = _script
            began_s = time.time()
            async with running(_load(parts)):
                await asyncio.sleep(load_s)
                await _save(parts, browser, folder / "dashboard.webp", began_s, height)
                for number in (0, 1):
                    await parts.kill_worker(number)
                await parts.prometheus.fires("TickertapeNoWorker", timeout_s=60)
                await _save(parts, browser, folder / "dashboard-no-worker.webp", began_s, 24)


def _script(call: Call) -> Script:
    """An answer of some seconds; one begins later than another, by up to half a second."""
    yield Role()
    yield Pause(0.1 + call.n % 5 / 10)
    for _ in range(40 + call.n % 7 * 20):
        yield Pause(0.03)
        yield Text("word ")
    yield Finish()


async def _load(parts: Monitored) -> None:
    """Callers that ask and read until cancelled, more of them in the second half of a minute."""

    async def ask(number: int) -> None:
        while True:
            if number >= SLOTS and time.time() % 60 < 30:
                await asyncio.sleep(1)
                continue
            request_id = await parts.api.submit()
            url = parts.api.stream_url(request_id)
            async with asyncio.TaskGroup() as reading:
                for _ in range(3):
                    reading.create_task(collect(url, parts.api.headers))

    async with asyncio.TaskGroup() as asking:
        for number in range(2 * SLOTS):
            asking.create_task(ask(number))


async def _save(
    parts: Monitored, browser: str, path: Path, began_s: float, height_units: int
) -> None:
    """Write a picture of the upper part of the dashboard as it is now."""
    now_s, height = time.time(), height_units * UNIT_PX
    answered = []
    for panel in panels():
        if panel["gridPos"]["y"] >= height_units:
            continue
        queries = [query_of(target, interval=_INTERVAL) for target in panel["targets"]]
        if panel["type"] == "stat":
            samples = [await parts.prometheus.query(query) for query in queries]
        else:
            samples = [
                await parts.prometheus.query_range(
                    query, start_s=began_s, end_s=now_s, step_s=_STEP_S
                )
                for query in queries
            ]
        answered.append(Answered(panel, samples))
    rows = [
        each
        for each in dashboard()["panels"]
        if each["type"] == "row" and each["gridPos"]["y"] < height_units
    ]
    async with connect(browser) as opened:
        with tempfile.NamedTemporaryFile("w", suffix=".html", encoding="utf-8") as file:
            file.write(document(rows, answered, height=height))
            file.flush()
            page = await opened.open(Path(file.name).as_uri(), width=_WIDTH_PX, height=height)
        shot = await page.command("Page.captureScreenshot", format="webp", quality=80)
    picture = base64.b64decode(shot["data"])
    assert len(picture) < MAX_BYTES, f"{path.name} has {len(picture)} bytes"
    path.write_bytes(picture)


if __name__ == "__main__":
    # The servers run in this process, and log each request.
    with structlog.testing.capture_logs(), contextlib.redirect_stdout(io.StringIO()):
        asyncio.run(make_pictures(Path(sys.argv[1]) if sys.argv[1:] else FOLDER))
