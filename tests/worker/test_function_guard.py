"""What the guard of a worker names: a blocked event loop, and a task that is left behind."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from structlog.testing import capture_logs

import tickertape
from tests.support.tasks import running
from tests.worker.jobs import codes
from tests.worker.test_functions import ended, terminal
from tickertape.worker.functions.guard import Guard


async def test_a_function_that_blocks_the_event_loop_is_named_with_the_place() -> None:
    with capture_logs() as logs:

        @tickertape.function("f")
        async def block(_: tickertape.Request) -> AsyncIterator[str]:
            yield "half"
            until_s = time.monotonic() + 5
            while time.monotonic() < until_s and not named():
                pass

        def named() -> list[Any]:
            return [each for each in logs if each["event"] == "function blocks the event loop"]

        async with running(Guard(limit_s=0.02).run()):
            await asyncio.sleep(0)
            await ended(block)
    (record,) = named()
    assert (record["function"], record["log_level"]) == ("f", "error")
    assert any(__file__ in place for place in record["at"])


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_a_task_of_a_function_that_exits_does_not_end_the_worker(
    error: BaseException,
) -> None:
    @tickertape.function("f")
    async def escape(_: tickertape.Request) -> AsyncIterator[str]:
        async def tool() -> None:
            with anyio.move_on_after(0):
                await asyncio.Event().wait()
            raise error

        never = asyncio.create_task(tool())
        never.cancel()
        yield "half"
        await asyncio.gather(tool())

    async with running(Guard().run()):
        await asyncio.sleep(0)
        with capture_logs():
            queue = await ended(escape)
    assert "(TaskExited," in terminal(queue)["message"]


async def test_a_task_that_a_function_leaves_behind_is_named_once() -> None:
    left: list[asyncio.Task[bool]] = []

    async def forgotten() -> bool:
        return await asyncio.Event().wait()

    @tickertape.function("leaky")
    async def leak(_: tickertape.Request) -> AsyncIterator[str]:
        left.append(asyncio.create_task(forgotten()))
        yield "done"

    with capture_logs() as logs:
        async with running(Guard().run()):
            await asyncio.sleep(0)
            for _ in range(2):
                assert codes(await ended(leak)) == [("completed", "")]
    for task in left:
        task.cancel()
    named = [each for each in logs if each["event"] == "function leaves a task behind"]
    assert [(each["function"], "forgotten" in each["task"]) for each in named] == [("leaky", True)]
