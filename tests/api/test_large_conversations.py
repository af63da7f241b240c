"""A conversation of many megabytes: its readers hold a page of it, and never all of it."""

import asyncio
import tracemalloc
from contextlib import aclosing

import httpx2
import pytest

from tests.api.test_stored_keys import accepted_key, of
from tests.support.keyspace import KEYS
from tests.support.memory import forget_peak, peak_mib, resident_mib
from tests.support.rig import TENANT, Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import open_stream
from tickertape.api.services import ApiTiming
from tickertape.broker.conversations import Conversations
from tickertape.broker.turns import Turn

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


async def test_a_conversation_is_sent_no_further_once_its_key_is_revoked(
    redis_url: str, worker: Rig
) -> None:
    await fill(worker)
    timing = ApiTiming(access_interval_s=0.02)
    async with running_api(redis_url, require_keys=True, timing=timing) as api:
        key = await accepted_key(api, TENANT)
        url = "/conversations/large"
        async with api.client.stream("GET", url, headers=of(key)) as answer:
            data = answer.aiter_bytes()
            size = len(await anext(data))
            assert await api.services.access.revoke("1")
            with pytest.raises(httpx2.RemoteProtocolError):
                size += sum([len(piece) async for piece in data])
        assert size < TURNS * TURN_BYTES


async def test_a_page_of_a_long_conversation_has_its_messages(api: RunningApi, worker: Rig) -> None:
    await fill(worker)
    view = (await api.client.get("/conversations/large?limit=2")).json()
    assert [turn["answered"] for turn in view["turns"]] == ["answer 38", "answer 39"]
    assert view["turns"][0]["asked"][0]["content"].startswith("38 x")
    assert view["turns"][1]["parent_id"] == view["turns"][0]["request_id"]
    assert view["before"]


async def test_an_outline_keeps_no_answer_of_the_pages_before(worker: Rig) -> None:
    question = [{"role": "user", "content": "hi"}]
    for _ in range(TURNS):
        await worker.begin(conversation_id="large", question=question)
        await worker.finish(answered="x" * TURN_BYTES)
    conversations = Conversations(worker.connections, worker.settings)
    place = await conversations.place(TENANT, "large")
    tracemalloc.start()
    try:
        assert len(await conversations.outlines(*place)) == TURNS
        assert tracemalloc.get_traced_memory()[1] < TURNS * TURN_BYTES * 3 / 4
    finally:
        tracemalloc.stop()


async def test_a_turn_that_is_erased_while_it_is_read_shows_no_digest_as_its_answer(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await worker.begin(
        conversation_id="large", question=[{"role": "user", "content": "hi"}]
    )
    await worker.finish(answered="hello")
    await worker.connections.ask("DEL", KEYS.log(request_id))
    read = Conversations.whole_at

    async def erased_before(
        self: Conversations, partition: int, key: str, outlines: list[Turn]
    ) -> list[Turn]:
        await worker.connections.ask("DEL", KEYS.turns(partition, key))
        return await read(self, partition, key, outlines)

    monkeypatch.setattr(Conversations, "whole_at", erased_before)
    url = f"{api.url}/conversations/large/stream"
    async with open_stream(url) as stream, aclosing(aiter(stream)) as arriving:
        events = [await anext(arriving) for _ in range(2)]
    assert [event.kind for event in events] == ["queued", "gone"]


async def test_a_regenerated_answer_reads_the_turn_that_it_replaces_and_no_other(
    api: RunningApi, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(worker)
    rows: list[int] = []
    read = Conversations.whole_at

    async def counted(
        self: Conversations, partition: int, key: str, outlines: list[Turn]
    ) -> list[Turn]:
        rows.append(len(outlines))
        return await read(self, partition, key, outlines)

    monkeypatch.setattr(Conversations, "whole_at", counted)
    body = {"id": "large", "trigger": "regenerate-message"}
    async with api.client.stream("POST", "/api/chat", json=body) as answer:
        assert answer.status_code == 200
    assert rows == [1]
    assert "39 x" in str((await worker.claim_lease()).payload)[:400]
