"""An API process drains: what it finishes, for how long, and what ends it earlier."""

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.api.test_server import children_of
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.followers import following
from tests.support.half_answers import HALF, REST, Gated, asking, is_closed, until_closed
from tests.support.programs import command, environment
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.wire_calls import ERROR, FOREGROUND, chat_stream, raw_text

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_draining_api_finishes_the_calls_of_every_wire_that_cannot_resume(
    deployment: Deployment, upstream: ScriptedUpstream, number: signal.Signals
) -> None:
    gated = Gated(upstream)
    (api, url), _ = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with (
        asking(url, *FOREGROUND) as calls,
        Caller(url) as caller,
        following(caller.stream_url(await caller.submit())) as native,
    ):
        await gated.begins(len(FOREGROUND) + 1)
        await native.starts_with(HALF)
        api.signal(number)
        await until_closed(url)
        # Its client comes back to another process, so the native stream does not wait.
        await native.ends()
        assert native.text == HALF
        gated.rest.set()
        heard = await asyncio.gather(*calls)
        assert await api.ended() == 0
    assert {ask.__name__: text for ask, text in zip(FOREGROUND, heard, strict=True)} == {
        ask.__name__: HALF + REST for ask in FOREGROUND
    }
    assert len(upstream.calls) == len(FOREGROUND) + 1


@pytest.mark.parametrize("is_hurried", [False, True])
async def test_several_processes_drain_together(
    deployment: Deployment, upstream: ScriptedUpstream, *, is_hurried: bool
) -> None:
    gated = Gated(upstream)
    (api, url), _ = await asyncio.gather(
        deployment.running_api(processes=2), deployment.running_worker()
    )
    async with asking(url, *[chat_stream] * 6) as calls:
        await gated.begins(6)
        # As service managers do, which signal each process of a service.
        for pid in (api.process.pid, *children_of(api.process.pid)):
            os.kill(pid, signal.SIGTERM)
        await until_closed(url)
        if is_hurried:
            api.signal(signal.SIGTERM)
        else:
            gated.rest.set()
        heard = await asyncio.gather(*calls)
        assert heard == [ERROR if is_hurried else HALF + REST] * 6
        assert await api.ended() == 0


@contextmanager
def in_terminal(
    **settings: str,
) -> Iterator[tuple[str, subprocess.Popen[bytes], Callable[[], None]]]:
    """An API with a terminal of its own: its URL, its process, and what closes the terminal."""
    ours, its = pty.openpty()
    port = free_port()
    argv = command("api", f"--port={port}")
    env = environment(**settings)
    process = subprocess.Popen(
        argv,
        stdin=its,
        stdout=its,
        stderr=its,
        env=env,
        preexec_fn=lambda: os.login_tty(0),  # noqa: PLW1509
    )
    os.close(its)
    try:
        yield f"http://127.0.0.1:{port}", process, lambda: os.close(ours)
    finally:
        process.kill()
        process.wait()


async def test_an_api_whose_terminal_is_closed_drains(
    deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    gated = Gated(upstream)
    await deployment.running_worker()
    with in_terminal(**deployment.settings) as (url, process, close_terminal):
        async with Caller(url) as caller:

            async def is_ready() -> bool:
                return not await is_closed(url) and await caller.is_ready()

            await wait_until(is_ready, timeout_s=20, description="the API is ready")
        async with asking(url, raw_text) as calls:
            await gated.begins(1)
            close_terminal()
            await until_closed(url)
            gated.rest.set()
            assert await asyncio.gather(*calls) == [HALF + REST]
        async with asyncio.timeout(10):
            await asyncio.to_thread(process.wait)
