"""An application that has Tickertape below a path, on three servers, stops in mid-answer."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.followers import following
from tests.support.programs import START_S, Program, environment
from tests.support.rig import working
from tests.support.script import Finish, Role, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.slow

EXAMPLES = Path("examples").resolve()
ADA = {"Cookie": "user=ada"}
SERVERS = pytest.mark.parametrize(
    "server",
    [
        ["uvicorn", "mounted:app", "--port={port}"],
        ["hypercorn", "mounted:app", "--bind=127.0.0.1:{port}"],
        ["granian", "mounted:app", "--interface=asgi", "--port={port}"],
    ],
    ids=lambda words: words[0],
)


@asynccontextmanager
async def host(
    server: Sequence[str], redis_url: str, directory: Path
) -> AsyncIterator[tuple[Program, Caller]]:
    """The example's application, as a process of this server; a user of it."""
    port = free_port()
    argv = [sys.executable, "-m", *(word.format(port=port) for word in server)]
    env = environment(REDIS_URL=redis_url, TICKERTAPE_DRAIN_S="1")
    env["PYTHONPATH"] = os.pathsep.join([str(EXAMPLES), env.get("PYTHONPATH", "")])
    program = Program("host", argv, directory, env)
    try:
        async with Caller(f"http://127.0.0.1:{port}/llm", headers=ADA) as caller:
            await wait_until(lambda: is_up(caller), timeout_s=START_S, description="the host")
            yield program, caller
    finally:
        program.stop()


async def is_up(caller: Caller) -> bool:
    try:
        return await caller.is_ready()
    except httpx2.TransportError:
        return False


@SERVERS
async def test_a_host_stops_while_an_answer_is_read_and_a_reader_resumes_at_the_next_one(
    server: Sequence[str], redis_url: str, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("one "), Wait(gate), Text("two"), Finish()]
    worker = Settings(redis_url=redis_url, openai_base_url=upstream.base_url)
    async with working(redis_url, worker):
        async with host(server, redis_url, tmp_path) as (program, ada):
            request_id = await ada.submit("hi")
            async with following(ada.stream_url(request_id), headers=ADA) as reader:
                await reader.shows("one ")
                program.signal(signal.SIGTERM)
                await program.ended()
        gate.set()
        async with host(server, redis_url, tmp_path) as (_, ada):
            cursor = {"Last-Event-ID": str(reader.last_cursor), **ADA}
            async with following(ada.stream_url(request_id), headers=cursor) as again:
                await again.ends()
            assert reader.text + again.text == "one two"
            stranger = await ada.client.get(f"/chat/{request_id}", headers={"Cookie": ""})
            assert stranger.status_code == 401
