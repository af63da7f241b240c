"""Any number of readers get the same answer, which is generated once."""

import asyncio

from tests.fundamentals.conftest import System


async def test_two_readers_get_the_same_events_from_one_generation(system: System) -> None:
    request_id = await system.api.submit("Hello?")

    first, second = await asyncio.gather(system.events(request_id), system.events(request_id))
    late = await system.events(request_id)

    assert first == second == late
    assert len(system.upstream.calls) == 1
