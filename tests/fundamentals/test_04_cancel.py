"""Cancel ends a request at once, keeps its text, and closes the upstream's connection."""

import asyncio

from tests.fundamentals.conftest import System
from tests.support.script import Text, Wait
from tests.support.wait import wait_until


async def test_a_cancelled_request_keeps_the_text_it_had(system: System) -> None:
    system.upstream.script = [Text("Once upon"), Wait(asyncio.Event()), Text(" a time")]
    request_id = await system.api.submit("Tell me a story")

    async def has_text() -> bool:
        return bool((await system.api.read(request_id))["text"] == "Once upon")

    await wait_until(has_text, description="the first words are there")
    cancelled = await system.api.client.post(f"/chat/{request_id}/cancel")

    assert cancelled.json()["status"] == "cancelled"
    request = await system.api.read(request_id)
    assert (request["status"], request["text"]) == ("cancelled", "Once upon")
    await asyncio.wait_for(system.upstream.calls[-1].closed.wait(), 5)
