"""A dead worker's request is taken over when its lease has run out."""

import asyncio

from tests.fundamentals.conftest import System
from tests.support.script import Text, Wait, answer
from tests.support.sse import text_of
from tests.support.wait import wait_until


async def test_another_worker_starts_over_and_readers_see_a_reset(
    system_without_worker: System,
) -> None:
    system = system_without_worker
    request_id = await system.api.submit("Tell me a story")

    async def has_text() -> bool:
        return bool((await system.api.read(request_id))["text"] == "Once upon")

    system.upstream.script = [Text("Once upon"), Wait(asyncio.Event())]
    async with system.worker(lease_s=0.5):
        await wait_until(has_text, description="the first words are there")
    # The block has ended, and with it the worker, in the middle of the answer.
    system.upstream.script = answer(["Another", " story"])
    async with system.worker(lease_s=0.5):
        events = await system.events(request_id)

    assert "reset" in [event.kind for event in events]
    assert text_of(events) == "Another story"
