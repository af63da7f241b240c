"""What is left of an erased turn, and when readers learn of titles and erasures."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from tests.api.test_conversations import ask, listed, next_kind, say, view
from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.sse import Event, open_stream

URL = "/conversations/c1"


async def erase(api: RunningApi, request_id: str) -> None:
    answer = await api.client.delete(f"{URL}/turns/{request_id}")
    assert answer.status_code == 204, answer.text


async def title_of(events: AsyncIterator[Event]) -> str | None:
    """The title in the next notice of it."""
    title: str | None = (await next_kind(events, "title"))["title"]
    return title


@pytest.mark.parametrize("has_expired", [False, True])
async def test_a_title_does_not_outlive_the_turn_that_it_was_made_of(
    api: RunningApi, worker: Rig, has_expired: bool
) -> None:
    first = await say(api, worker, "a secret")
    second = await say(api, worker, "two")
    for request_id, title in ((first, "two"), (second, None)):
        if has_expired:
            await worker.connections.ask("DEL", KEYS.request(request_id), KEYS.log(request_id))
        await erase(api, request_id)
        assert (await view(api))["title"] == title
        assert [one["title"] for one in (await listed(api))["conversations"]] == [title]
    await say(api, worker, "three")
    assert (await view(api))["title"] == "three"


async def test_the_title_of_a_user_outlives_every_turn(api: RunningApi, worker: Rig) -> None:
    first = await say(api, worker, "one")
    await api.client.patch(URL, json={"title": "Rome"})
    await erase(api, first)
    assert (await view(api))["title"] == "Rome"


async def test_the_title_stays_when_another_turn_is_erased(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "one")
    second = await say(api, worker, "two")
    await erase(api, second)
    assert (await view(api))["title"] == "one"


async def test_the_list_forgets_the_variables_of_an_erased_turn(
    api: RunningApi, worker: Rig
) -> None:
    options = {"role": "teacher", "variables": {"LEVEL": "a secret"}, "temperature": 0.7}
    request_id = await say(api, worker, "one", **options)
    assert "a secret" in str(await listed(api))
    await erase(api, request_id)
    [one] = (await listed(api))["conversations"]
    assert "a secret" not in str(one)
    assert (one["role"], one["temperature"]) == ("teacher", 0.7)


async def test_readers_learn_of_each_title_also_while_an_answer_is_written(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    async with (
        open_stream(f"{api.url}{URL}/stream", shows_watchers=True) as stream,
        aclosing(aiter(stream)) as events,
    ):
        assert await title_of(events) == "one"
        await next_kind(events, "completed")
        running = await ask(api, "two")
        await worker.claim()
        await next_kind(events, "started")
        await api.client.patch(URL, json={"title": "Rome"})
        assert await title_of(events) == "Rome"
        await worker.finish(answered="TWO")
        assert (await next_kind(events, "completed"))["request_id"] == running
        await api.client.patch(URL, json={"title": "Roma"})
        assert await title_of(events) == "Roma"
    after = {"Last-Event-ID": f"{first}:0-0"}
    async with (
        open_stream(f"{api.url}{URL}/stream", after, shows_watchers=True) as stream,
        aclosing(aiter(stream)) as events,
    ):
        assert await title_of(events) == "Roma"


async def test_readers_learn_of_an_erased_turn_while_an_answer_is_written(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    running = await ask(api, "two")
    await worker.claim()
    held = await ask(api, "three")
    async with (
        open_stream(f"{api.url}{URL}/stream") as stream,
        aclosing(aiter(stream)) as events,
    ):
        while (await next_kind(events, "started"))["request_id"] != running:
            pass
        await erase(api, first)
        assert await next_kind(events, "erased") == {"request_id": first}
        await worker.finish(answered="TWO")
        queued = await next_kind(events, "queued")
        assert (queued["request_id"], queued["parent_id"]) == (held, running)


async def test_a_turn_behind_one_that_was_erased_meanwhile_names_a_parent_that_is_there(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    running = await ask(api, "two")
    await worker.claim()
    held = await ask(api, "three", parent_id=first)
    async with (
        open_stream(f"{api.url}{URL}/stream") as stream,
        aclosing(aiter(stream)) as events,
    ):
        while (await next_kind(events, "started"))["request_id"] != running:
            pass
        await erase(api, first)
        await next_kind(events, "erased")
        await worker.finish(answered="TWO")
        queued = await next_kind(events, "queued")
        assert (queued["request_id"], queued["parent_id"]) == (held, None)
