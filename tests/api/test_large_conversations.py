"""A conversation of many megabytes: its readers hold a page of it, and never all of it."""

import asyncio

from tests.support.memory import forget_peak, peak_mib, resident_mib
from tests.support.rig import Rig
from tests.support.running_api import RunningApi

TURNS, TURN_BYTES = 40, 1_000_000
# All of it is 40 MB, and each of its readers held several copies.
MOST_MIB = 100


async def fill(worker: Rig) -> None:
    """Turns of 1 MB, each with a short answer."""
    for number in range(TURNS):
        question = [{"role": "user", "content": f"{number} " + "x" * TURN_BYTES}]
        await worker.submit(conversation_id="large", question=question)
        await worker.claim()
        await worker.finish(answered=f"answer {number}")


async def read(api: RunningApi) -> int:
    """Read the conversation, and drop what comes."""
    size = 0
    async with api.client.stream("GET", "/conversations/large") as answer:
        async for data in answer.aiter_bytes():
            size += len(data)
    return size


async def test_a_long_conversation_is_streamed_to_many_readers_in_pages(
    api: RunningApi, worker: Rig
) -> None:
    await fill(worker)
    forget_peak()
    before_mib = resident_mib()
    sizes = await asyncio.gather(*(read(api) for _ in range(3)))
    assert min(sizes) > TURNS * TURN_BYTES
    assert peak_mib() - before_mib < MOST_MIB


async def test_a_page_of_a_long_conversation_has_its_messages(api: RunningApi, worker: Rig) -> None:
    await fill(worker)
    view = (await api.client.get("/conversations/large?limit=2")).json()
    assert [turn["answered"] for turn in view["turns"]] == ["answer 38", "answer 39"]
    assert view["turns"][0]["asked"][0]["content"].startswith("38 x")
    assert view["turns"][1]["parent_id"] == view["turns"][0]["request_id"]
    assert view["before"]
