"""Thousands of connections that are slow, large or garbage, beside streams that must not notice."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.flood import BODIES, HEADS
from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.followers import following
from tests.support.programs import environment
from tests.support.rig import open_rig

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent.parent
READERS = 20
FLOOD_S = 15.0
# 28 MiB on a quiet machine, 9 of them for 1,000 new connections, which may be of honest callers.
MOST_MIB = 34.0
MOST_S = 0.1
MIB = 1024 * 1024


def resident_mib(pid: int) -> float:
    """The memory of a process, as the system counts it."""
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


@contextlib.asynccontextmanager
async def flooding(url: str) -> AsyncIterator[None]:
    """Floods the API until the block ends."""
    argv = [sys.executable, "-m", "tests.faults.flood", url]
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=ROOT, env=environment(), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"flooding\n"
        yield
    finally:
        process.kill()
        await process.wait()


async def test_slow_heads_slow_bodies_and_floods_of_headers_harm_nobody(
    deployment: Deployment,
) -> None:
    program, url = await deployment.running_api()
    redis_url = deployment.settings["REDIS_URL"]
    async with Caller(url) as caller, open_rig(redis_url) as worker:
        request_id = await worker.begin()
        await worker.type("-")
        async with contextlib.AsyncExitStack() as stack:
            readers = [
                await stack.enter_async_context(following(caller.stream_url(request_id)))
                for _ in range(READERS)
            ]
            for reader in readers:
                await reader.shows("-")
            before = resident_mib(program.process.pid)
            peak, late_s, words = before, [0.0], ["-"]
            await stack.enter_async_context(flooding(url))
            ends_s = time.monotonic() + FLOOD_S
            while time.monotonic() < ends_s:
                began_s = time.monotonic()
                assert (await caller.client.get("/healthz")).status_code == 200
                late_s.append(time.monotonic() - began_s)
                words.append(f"{len(words)} ")
                await worker.type(words[-1])
                peak = max(peak, resident_mib(program.process.pid))
            await worker.finish()
            for reader in readers:
                await reader.ends()
                assert reader.text == "".join(words)
                assert reader.kinds.count("completed") == 1
                assert "reset" not in reader.kinds
    late_s.sort()
    p99_s = late_s[int(len(late_s) * 0.99)]
    print(
        f"{HEADS} heads, {BODIES} bodies: {before:.0f} MiB, at most {peak - before:+.1f} MiB;"
        f" /healthz p50 {late_s[len(late_s) // 2] * 1000:.0f} ms, p99 {p99_s * 1000:.0f} ms,"
        f" longest {late_s[-1] * 1000:.0f} ms of {len(late_s)};"
        f" {len(program.printed):,} bytes logged"
    )
    assert peak - before <= MOST_MIB
    # The flood, the readers and other tests share the processor, so the very longest are theirs.
    assert late_s[int(len(late_s) * 0.95)] <= MOST_S
