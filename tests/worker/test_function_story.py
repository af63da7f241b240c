"""Requests that a function answers, on a real Redis, beside those that the upstream answers."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tickertape
from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.worker.test_story import settings_for, text_of

ECHO: dict[str, Any] = {"params": {"model": "echo"}, "pool": "echo"}


@tickertape.function("echo")
async def echo(request: tickertape.Request) -> AsyncIterator[str]:
    """The text of each message; waits without end after the word `wait`."""
    for message in request.messages:
        yield f"[{message['content']}]"
    if request.text == "wait":
        await asyncio.Event().wait()


@pytest.fixture
async def rig(redis_url: str, upstream: ScriptedUpstream) -> AsyncIterator[Rig]:
    settings = settings_for(upstream)
    async with (
        open_rig(redis_url, settings) as running,
        working(redis_url, settings, functions=[echo]),
    ):
        yield running


async def test_a_conversation_has_turns_of_a_function_and_of_the_upstream(rig: Rig) -> None:
    first = await rig.ended(await rig.ask("a", conversation_id="c", **ECHO))
    assert (text_of(first), first.end["finish_reason"]) == ("[a]", "stop")
    assert text_of(await rig.ended(await rig.ask("b", conversation_id="c"))) == "Hello, world."
    third = await rig.ended(await rig.ask("d", conversation_id="c", **ECHO))
    assert text_of(third) == "[a][[a]][b][Hello, world.][d]"


async def test_a_process_that_knows_no_pools_reaches_a_function_by_its_model(rig: Rig) -> None:
    assert text_of(await rig.ended(await rig.ask("a", params=ECHO["params"]))) == "[a]"


async def test_a_cancelled_function_ends_and_its_text_stays(rig: Rig) -> None:
    request_id = await rig.ask("wait", **ECHO)
    await rig.shows(request_id, "[wait]")
    running = [task for task in asyncio.all_tasks() if task.get_name() == "function echo"]
    await rig.requests.cancel(request_id, TENANT)
    async with asyncio.timeout(5):
        await asyncio.wait(running)

    async def is_accounted() -> bool:
        return bool((await rig.record(request_id)).usage)

    await wait_until(is_accounted, description="the usage of the cancelled attempt is noted")
    answered = await rig.answer(request_id)
    assert (len(running), answered.status, text_of(answered)) == (1, "cancelled", "[wait]")
