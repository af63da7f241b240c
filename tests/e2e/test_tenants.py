"""Three tenants with keys of their own: nobody sees, ends or delays what another has."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import TENANT_LIMIT
from tests.support.callers import Caller
from tests.support.followers import following
from tests.support.prompted import Plan

ENDLESS = Plan(deltas=100_000, rate_per_s=20)
_PUBLIC = {"/healthz", "/readyz"}
# What every tenant may see; it is nobody's.
_EVERYONES = {
    *(("GET", path) for path in ("/roles", "/roles/{name}", "/v1/models", "/v1/models/{model}")),
    *(("GET", path) for path in ("/healthz", "/readyz", "/metrics")),
    ("GET", "/status.json"),
}
# These name nothing that exists. Other tests check what they show of the caller's data.
_UNNAMED = {
    *(("GET", path) for path in ("/chat", "/conversations")),
    ("POST", "/tickets/revoke"),
    *(
        ("POST", path)
        for path in ("/chat", "/v1/chat/completions", "/v1/responses", "/api/chat", "/api/gpt/get")
    ),
    ("POST", "/api/v7/chat"),
    # tests/wires/test_agui.py has these, whose body or query names a run.
    *(("POST", path) for path in ("/agui", "/agui/stop")),
    ("GET", "/agui"),
}
# What is not there is a 404 but for the AI SDK, whose pages ask for chats that never were.
_NOTHING_THERE = {
    ("GET", "/api/chat/{chat_id}/stream"): 204,
    ("POST", "/api/chat/{chat_id}/stop"): 200,
    ("GET", "/api/v7/chat/{chat_id}/stream"): 204,
    ("POST", "/api/v7/chat/{chat_id}/stop"): 200,
}
# A conversation begins with its first request, so one can be followed before there is one.
_FOLLOWING = {
    ("GET", "/conversations/{conversation_id}/stream"),
    ("POST", "/streams"),
    ("POST", "/conversations/{conversation_id}/ticket"),
    ("POST", "/conversations/{conversation_id}/tickets/revoke"),
}
_BODIES: dict[str, object] = {
    "PATCH": {"title": "a stranger's"},
    "/chat/{request_id}/ticket": {"rights": "read"},
}

Call = tuple[str, str]


async def calls_of(caller: Caller) -> list[Call]:
    """Every call that the API offers, as method and path."""
    paths = (await caller.client.get("/openapi.json")).json()["paths"]
    return [(method.upper(), path) for path, item in paths.items() for method in item]


@pytest.fixture
async def running(ada: Caller, bob: Caller, eve: Caller) -> AsyncIterator[dict[str, str]]:
    """What ada is being answered, by the names in the paths: natively, as a response, in a chat."""
    prompt = ENDLESS.prompt()
    asked = {"input": prompt, "background": True}
    response_id = (await ada.client.post("/v1/responses", json=asked)).json()["id"]
    message = {"role": "user", "parts": [{"type": "text", "text": prompt}]}
    page = {"id": "ada/chat", "messages": [message]}
    async with ada.client.stream("POST", "/api/chat", json=page) as answer:
        chat_request_id = answer.headers["X-Request-Id"]
    request_id = await ada.submit(prompt, conversation_id="ours")
    ids = [request_id, response_id.removeprefix("resp_"), chat_request_id]
    for each in ids:
        async with following(ada.stream_url(each), ada.headers) as reader:
            await reader.starts_with("delta-0 ")
    yield {
        "request_id": request_id,
        "conversation_id": "ours",
        "response_id": response_id,
        "chat_id": "ada/chat",
    }
    for each in ids:
        assert await ada.cancel(each) == "cancelled"
    for caller in (ada, bob, eve):
        await caller.client.delete("/conversations/ours")


async def test_every_call_but_the_health_checks_needs_a_key(ada: Caller, shared_api: str) -> None:
    answers = {}
    for headers in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic the-api-key-of-ada"},
    ):
        async with httpx2.AsyncClient(base_url=shared_api, headers=headers) as stranger:
            calls = await calls_of(ada)
            # At once, because the refusals of wrong keys are delayed.
            found = await asyncio.gather(*(stranger.request(*call) for call in calls))
            for (method, path), answer in zip(calls, found, strict=True):
                answers[method, path, str(headers)] = answer.status_code
    refused = {call for call, status in answers.items() if status == 401}
    assert {path for _, path, _ in answers.keys() - refused} == _PUBLIC


async def test_no_call_reaches_what_another_tenant_has(
    ada: Caller, bob: Caller, eve: Caller, running: dict[str, str]
) -> None:
    named = {*await calls_of(ada)} - _EVERYONES - _UNNAMED - _FOLLOWING
    assert {call[1].split("/")[1] for call in named} == {"chat", "conversations", "v1", "api"}
    ada_s_title = (await ada.client.get("/conversations/ours")).json()["title"]
    nobodys_names = {name: value[:-3] + "aaa" for name, value in running.items()}
    for stranger in (bob, eve):
        for call in named:
            theirs = await _call(stranger, call, running)
            nobodys = await _call(stranger, call, nobodys_names)
            expected = _NOTHING_THERE.get(call, 404)
            assert theirs.status_code == nobodys.status_code == expected, call
            assert theirs.content == nobodys.content, call
        followed = {"input": "And?", "previous_response_id": running["response_id"]}
        refused = await stranger.client.post("/v1/responses", json=followed)
        assert refused.json()["error"]["code"] == "previous_response_not_found"
    assert (await ada.read(running["request_id"]))["status"] == "running"
    kept = (await ada.client.get("/conversations/ours")).json()
    assert (len(kept["turns"]), kept["title"]) == (1, ada_s_title)


async def _call(caller: Caller, call: Call, names: dict[str, str]) -> Any:
    method, path = call
    body = _BODIES.get(path, _BODIES.get(method))
    return await caller.client.request(method, path.format(**names), json=body)


async def test_conversations_of_one_name_are_one_for_each_tenant(
    ada: Caller, bob: Caller, eve: Caller
) -> None:
    callers = {"ada": ada, "bob": bob, "eve": eve}
    plans = {name: Plan(deltas=3, tag=f"for-{name}") for name in callers}
    url = "/conversations/shared"
    async with (
        following(f"{ada.url}{url}/stream", ada.headers) as of_ada,
        following(f"{bob.url}{url}/stream", bob.headers) as of_bob,
        following(f"{eve.url}{url}/stream", eve.headers) as of_eve,
    ):
        followed = {"ada": of_ada, "bob": of_bob, "eve": of_eve}
        for name, caller in callers.items():
            await caller.submit(plans[name].prompt(), conversation_id="shared")
        for name, reader in followed.items():
            await reader.completes()
            assert reader.text == plans[name].text()
            assert len({event.data["request_id"] for event in reader.events}) == 1
    assert (await ada.client.delete(url)).status_code == 204
    assert (await ada.client.get(url)).status_code == 404
    for name in ("bob", "eve"):
        [turn] = (await callers[name].client.get(url)).json()["turns"]
        assert turn["answered"] == plans[name].text()


async def test_streams_of_many_conversations_hold_the_caller_s_only(
    ada: Caller, bob: Caller, eve: Caller, running: dict[str, str]
) -> None:
    url, cursor = f"{ada.url}/streams", f"{running['request_id']}:0-0"
    body = {"conversations": [{"conversation_id": "ours", "after": cursor}]}
    async with (
        following(url, ada.headers, body=body) as of_ada,
        following(url, bob.headers, body=body) as of_bob,
        following(url, eve.headers, body=body) as of_eve,
    ):
        await of_ada.contains("delta-5 ")
        for stranger, reader in ((bob, of_bob), (eve, of_eve)):
            await stranger.submit(Plan(deltas=2, tag="own").prompt(), conversation_id="ours")
            await reader.completes()
            assert reader.text == Plan(deltas=2, tag="own").text()
            seen = {event.data.get("request_id") for event in reader.events}
            assert running["request_id"] not in seen


async def test_the_list_of_conversations_holds_the_caller_s_only(
    ada: Caller, bob: Caller, eve: Caller
) -> None:
    callers = {"ada": ada, "bob": bob, "eve": eve}
    for name, caller in callers.items():
        await caller.submit(f"listed for {name}", conversation_id="listed")
    assert (
        await ada.client.patch("/conversations/listed", json={"title": "listed by ada"})
    ).is_success
    titles = {
        name: [
            each["title"]
            for each in (
                await caller.client.get("/conversations", params={"q": "listed", "limit": 100})
            ).json()["conversations"]
        ]
        for name, caller in callers.items()
    }
    assert titles == {
        "ada": ["listed by ada"],
        "bob": ["listed for bob"],
        "eve": ["listed for eve"],
    }


async def test_an_idempotency_key_is_a_tenant_s_own(ada: Caller, bob: Caller, eve: Caller) -> None:
    body = {"message": Plan(deltas=1).prompt()}
    key = {"Idempotency-Key": "the-same"}
    answers = [
        await caller.client.post("/chat", json=body, headers=key) for caller in (ada, bob, eve, ada)
    ]
    ids = [answer.json()["request_id"] for answer in answers]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 200]
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]


async def test_a_list_holds_the_caller_s_requests_only(
    ada: Caller, bob: Caller, eve: Caller
) -> None:
    callers = (ada, bob, eve)
    submitted = [
        {await caller.submit(Plan(deltas=1).prompt()) for _ in "123"} for caller in callers
    ]
    listed = []
    for caller in callers:
        page = (await caller.client.get("/chat", params={"limit": 100})).json()
        listed.append({request["request_id"] for request in page["requests"]})
    for mine, ids in zip(listed, submitted, strict=True):
        assert ids <= mine
    assert not listed[0] & listed[1] | listed[1] & listed[2] | listed[2] & listed[0]


async def test_a_tenant_that_is_at_its_limit_is_in_nobody_else_s_way(
    ada: Caller, bob: Caller, eve: Caller
) -> None:
    flood = await asyncio.gather(
        *(
            ada.client.post("/chat", json={"message": ENDLESS.prompt()})
            for _ in range(TENANT_LIMIT + 5)
        )
    )
    accepted = [answer.json()["request_id"] for answer in flood if answer.status_code == 202]
    refused = [answer for answer in flood if answer.status_code == 429]
    assert (len(accepted), len(refused)) == (TENANT_LIMIT, 5)
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in refused)
    for caller in (bob, eve):
        request_id = await caller.submit(Plan(deltas=2).prompt())
        async with following(caller.stream_url(request_id), caller.headers) as reader:
            await reader.ends()
        assert reader.text == "delta-0 delta-1 "
    await asyncio.gather(*(ada.cancel(request_id) for request_id in accepted))


async def test_terminals_of_three_tenants_get_their_own_text(
    ada: Caller, bob: Caller, eve: Caller
) -> None:
    async def ask(caller: Caller, tag: str) -> str:
        body = {"message": Plan(deltas=20, rate_per_s=100, tag=tag).prompt()}
        return str((await caller.client.post("/api/gpt/get", json=body)).text)

    texts = await asyncio.gather(ask(ada, "a"), ask(bob, "b"), ask(eve, "e"))
    assert list(texts) == [Plan(deltas=20, tag=tag).text() for tag in "abe"]
