"""Conversations over HTTP: branches, the list, titles, and erased turns."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig
from tests.support.running_api import RunningApi
from tests.support.sse import Event, open_stream
from tickertape.broker.conversations import Conversations


async def say(api: RunningApi, worker: Rig, text: str, **fields: Any) -> str:
    """Ask in a conversation, answer with the same text in capitals, and return the id."""
    request_id = await ask(api, text, **fields)
    assert await worker.claim() == request_id
    await worker.type(text.upper())
    await worker.finish(answered=text.upper())
    return request_id


async def ask(api: RunningApi, text: str, conversation_id: str = "c1", **fields: Any) -> str:
    body = {"message": text, "conversation_id": conversation_id, **fields}
    answer = await api.client.post("/chat", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["request_id"])


async def view(api: RunningApi, conversation_id: str = "c1") -> dict[str, Any]:
    return dict((await api.client.get(f"/conversations/{conversation_id}")).json())


async def listed(api: RunningApi, **query: Any) -> dict[str, Any]:
    answer = await api.client.get("/conversations", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_turns_with_the_same_parent_are_branches(api: RunningApi, worker: Rig) -> None:
    first = await say(api, worker, "one")
    second = await say(api, worker, "two")
    edited = await say(api, worker, "zwei", parent_id=first)
    start = await say(api, worker, "uno", parent_id=None)
    turns = (await view(api))["turns"]
    assert [(turn["request_id"], turn["parent_id"]) for turn in turns] == [
        (first, None),
        (second, first),
        (edited, first),
        (start, None),
    ]


async def test_queued_events_of_a_conversation_name_the_parent(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    second = await say(api, worker, "two", parent_id=first)
    await worker.connections.ask("DEL", KEYS.log(first))
    url = f"{api.url}/conversations/c1/stream"
    async with open_stream(url) as stream, aclosing(aiter(stream)) as events:
        queued = [await next_kind(events, "queued") for _ in range(2)]
    assert [(data["request_id"], data["parent_id"]) for data in queued] == [
        (first, None),
        (second, first),
    ]


@pytest.mark.parametrize("parent_id", ["r0_" + "a" * 26, "no id", ""])
async def test_an_unknown_parent_is_refused_by_its_name(
    api: RunningApi, worker: Rig, parent_id: str
) -> None:
    await say(api, worker, "one")
    body = {"message": "two", "conversation_id": "c1", "parent_id": parent_id}
    answer = await api.client.post("/chat", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "parent_id")


async def test_a_parent_outside_of_the_conversation_is_refused(
    api: RunningApi, worker: Rig
) -> None:
    other = await say(api, worker, "one", conversation_id="other")
    for body in (
        {"message": "two", "conversation_id": "c1", "parent_id": other},
        {"message": "two", "parent_id": other},
    ):
        answer = await api.client.post("/chat", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "parent_id")


async def test_a_parent_whose_request_has_expired_is_known(api: RunningApi, worker: Rig) -> None:
    first = await say(api, worker, "one")
    await worker.connections.ask("DEL", KEYS.request(first), KEYS.log(first))
    await say(api, worker, "two")
    await say(api, worker, "zwei", parent_id=first)
    assert [turn["parent_id"] for turn in (await view(api))["turns"]] == [None, first, first]


async def test_the_list_has_the_latest_conversation_first(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "the first", conversation_id="a", model="m", temperature=0.5)
    await say(api, worker, "the second", conversation_id="b")
    active = await ask(api, "more", conversation_id="a", role="cli")
    page = await listed(api)
    assert page["after"] is None
    one, two = page["conversations"]
    assert (one["conversation_id"], two["conversation_id"]) == ("a", "b")
    assert (one["title"], one["turns"], one["active_request_id"]) == ("the first", 2, active)
    options = {name: one[name] for name in ("role", "model", "temperature", "variables")}
    expected = {"role": "cli", "model": None, "temperature": None, "variables": None}
    assert options == expected
    assert one["created_at"] < one["updated_at"]
    whole = await view(api, "a")
    assert {name: whole[name] for name in one if name != "turns"} == {
        name: value for name, value in one.items() if name != "turns"
    }


async def test_pages_of_the_list_have_each_conversation_once(api: RunningApi, worker: Rig) -> None:
    names = [f"c{number}" for number in range(5)]
    for name in names:
        await say(api, worker, f"About {name}", conversation_id=name)
    found: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = await listed(api, limit=2, **after)
        found += [one["conversation_id"] for one in page["conversations"]]
        if page["after"] is None:
            break
        after = {"after": page["after"]}
    assert found == names[::-1]
    [hit] = (await listed(api, q="ABOUT C3"))["conversations"]
    assert hit["conversation_id"] == "c3"
    answer = await api.client.get("/conversations", params={"after": "x"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_the_title_of_a_user_stays(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "one")
    answer = await api.client.patch("/conversations/c1", json={"title": "  Rome  "})
    assert (answer.status_code, answer.json()["title"]) == (200, "Rome")
    await say(api, worker, "two")
    assert (await view(api))["title"] == "Rome"
    assert (await api.client.patch("/conversations/none", json={"title": "x"})).status_code == 404
    assert (await api.client.patch("/conversations/c1", json={"title": " "})).status_code == 400


async def test_a_forgotten_conversation_leaves_the_list(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "one")
    assert (await api.client.delete("/conversations/c1")).status_code == 204
    assert (await listed(api))["conversations"] == []


async def test_a_conversation_of_an_earlier_version_is_listed_after_its_next_request(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    place = await Conversations(worker.connections, worker.settings).place(TENANT, "c1")
    # What version 0.1 had not written yet.
    await worker.connections.ask("DEL", KEYS.conversations(place[0], TENANT))
    new = ("summary", "title", "created", "updated", "turns")
    await worker.connections.ask("HDEL", KEYS.conversation(*place), *new)
    assert (await listed(api))["conversations"] == []
    before = await view(api)
    assert (before["title"], [turn["request_id"] for turn in before["turns"]]) == ("one", [first])
    await say(api, worker, "two")
    [one] = (await listed(api))["conversations"]
    assert (one["turns"], one["created_at"]) == (2, before["created_at"])


@pytest.mark.parametrize("has_expired", [False, True])
async def test_turns_below_an_erased_one_follow_the_turn_before_it(
    api: RunningApi, worker: Rig, has_expired: bool
) -> None:
    first = await say(api, worker, "one")
    second = await say(api, worker, "two")
    third = await say(api, worker, "three")
    if has_expired:
        await worker.connections.ask("DEL", KEYS.request(second), KEYS.log(second))
    path = f"/conversations/c1/turns/{second}"
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.client.delete(path)).status_code == 404
    whole = await view(api)
    places = [(turn["request_id"], turn["parent_id"]) for turn in whole["turns"]]
    assert places == [(first, None), (third, first)]
    rows = KEYS.turns(*await Conversations(worker.connections, worker.settings).place(TENANT, "c1"))
    assert "two" not in str(await worker.connections.ask("XRANGE", rows, "-", "+"))
    [one] = (await listed(api))["conversations"]
    assert one["turns"] == 2


async def test_a_turn_is_erased_only_through_its_own_conversation(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    assert (await api.client.delete(f"/conversations/other/turns/{first}")).status_code == 404
    assert len((await view(api))["turns"]) == 1


async def test_a_running_turn_is_cancelled_and_erased(api: RunningApi, worker: Rig) -> None:
    await say(api, worker, "one")
    running = await ask(api, "two")
    await worker.claim()
    assert (await api.client.delete(f"/conversations/c1/turns/{running}")).status_code == 204
    whole = await view(api)
    assert (len(whole["turns"]), whole["active_request_id"]) == (1, None)


async def next_kind(events: AsyncIterator[Event], kind: str) -> dict[str, Any]:
    async for event in events:
        if event.kind == kind:
            return dict(event.data)
    raise AssertionError(kind)


async def test_readers_of_a_conversation_learn_that_a_turn_was_erased(
    api: RunningApi, worker: Rig
) -> None:
    first = await say(api, worker, "one")
    second = await say(api, worker, "two")
    url = f"{api.url}/conversations/c1/stream"
    async with open_stream(url) as stream, aclosing(aiter(stream)) as events:
        while (await next_kind(events, "completed"))["request_id"] != second:
            pass
        assert (await api.client.delete(f"/conversations/c1/turns/{first}")).status_code == 204
        assert await next_kind(events, "erased") == {"request_id": first}
        assert (await api.client.delete(f"/conversations/c1/turns/{second}")).status_code == 204
        assert await next_kind(events, "erased") == {"request_id": second}


async def test_a_reader_that_was_away_learns_of_erased_turns(api: RunningApi, worker: Rig) -> None:
    first = await say(api, worker, "one")
    second = await say(api, worker, "two")
    assert (await api.client.delete(f"/conversations/c1/turns/{first}")).status_code == 204
    queued = (await worker.entries(second))[0].cursor
    after = {"Last-Event-ID": f"{second}:{queued}"}
    url = f"{api.url}/conversations/c1/stream"
    async with open_stream(url, after) as stream, aclosing(aiter(stream)) as events:
        assert await next_kind(events, "erased") == {"request_id": first}


async def test_a_conversation_is_read_in_pages_from_the_newest_turn(
    api: RunningApi, worker: Rig
) -> None:
    ids = [await say(api, worker, f"{n}") for n in range(5)]
    url = "/conversations/c1"
    whole = (await api.client.get(url)).json()
    assert [turn["request_id"] for turn in whole["turns"]] == ids
    assert "before" not in whole
    newest = (await api.client.get(url, params={"limit": 2})).json()
    assert newest["turns"] == whole["turns"][3:]
    assert newest["title"] == whole["title"]
    erased = await api.client.delete(f"{url}/turns/{ids[3]}")
    assert erased.status_code == 204
    earlier = {"limit": 2, "before": newest["before"]}
    page = (await api.client.get(url, params=earlier)).json()
    assert page["turns"] == whole["turns"][1:3]
    first = (await api.client.get(url, params={"limit": 2, "before": page["before"]})).json()
    assert (first["turns"], first["before"]) == (whole["turns"][:1], None)


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("limit=x", "limit"), ("before=x", "before")]
)
async def test_a_page_of_turns_that_cannot_be_is_refused_by_its_name(
    api: RunningApi, worker: Rig, query: str, param: str
) -> None:
    await say(api, worker, "one")
    answer = await api.client.get(f"/conversations/c1?{query}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
