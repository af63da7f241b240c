"""Requests over HTTP: submit, read, list, cancel, erase."""

import asyncio

import msgspec
import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires.claiming import claimed


async def test_the_response_to_a_submit_has_the_requests_location(api: RunningApi) -> None:
    answer = await api.client.post("/chat", json={"message": "hi", "conversation_id": "c1"})
    assert answer.status_code == 202
    accepted = answer.json()
    request_id = accepted["request_id"]
    assert accepted == {
        "request_id": request_id,
        "status": "queued",
        "stream_url": f"/chat/{request_id}/stream",
        "conversation_id": "c1",
    }
    assert answer.headers["Location"] == f"/chat/{request_id}"
    assert (await api.client.get(answer.headers["Location"])).status_code == 200


async def test_images_sound_and_files_reach_the_worker_and_stay_in_the_conversation(
    api: RunningApi, worker: Rig
) -> None:
    content = [
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:;base64,"},
        },
    ]
    asked = [{"role": "user", "content": content}]
    body = {"messages": asked, "conversation_id": "c1"}
    assert (await api.client.post("/chat", json=body)).status_code == 202
    payload = await claimed(worker)
    assert payload["messages"] == asked
    await worker.finish()
    held = (await api.client.get("/conversations/c1")).json()
    assert [turn["asked"] for turn in held["turns"]] == [asked]


async def test_a_worker_gets_the_rendered_role_the_message_and_the_parameters(
    api: RunningApi, worker: Rig
) -> None:
    await api.submit("dir", role="cli", model="m", temperature=0.5, top_p=1, max_tokens=9)
    await worker.claim()
    assert worker.lease is not None
    payload = worker.lease.payload
    assert payload["messages"] == [{"role": "user", "content": "dir"}]
    assert payload["role_messages"][0]["role"] == "system"
    expected = {"model": "m", "temperature": 0.5, "top_p": 1, "max_tokens": 9}
    assert payload["params"] == expected


async def test_a_request_is_read_while_it_is_written(api: RunningApi, worker: Rig) -> None:
    request_id = await api.submit(metadata={"k": "v"})
    assert (await api.read(request_id))["queue_position"] == 0
    await worker.claim()
    await worker.type("Hel", "lo")
    view = await api.read(request_id)
    assert (view["status"], view["text"], view["n"]) == ("running", "Hello", 1)
    assert (view["model"], view["metadata"]) == ("a-model", {"k": "v"})
    await worker.finish()
    view = await api.read(request_id)
    assert (view["status"], view["finish_reason"]) == ("completed", "stop")
    assert view["ended_at"] >= view["created_at"]


async def test_a_second_request_waits_behind_the_first(api: RunningApi) -> None:
    await api.submit("first")
    second = await api.submit("second")
    assert (await api.read(second))["queue_position"] == 1


async def test_the_same_key_and_body_are_the_same_request(api: RunningApi) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = await api.client.post("/chat", json={"message": "hi", "model": "m"}, headers=headers)
    again = await api.client.post("/chat", json={"model": "m", "message": "hi"}, headers=headers)
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == first.json()
    assert len((await api.client.get("/chat")).json()["requests"]) == 1


async def test_a_repeated_submit_returns_the_requests_status(api: RunningApi, worker: Rig) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.client.post("/chat", json={"message": "hi"}, headers=headers)
    await worker.claim()
    await worker.finish()
    again = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
    assert again.json()["status"] == "completed"


async def test_concurrent_repeats_of_a_submit_are_one_request(api: RunningApi) -> None:
    async def post() -> tuple[int, str]:
        answer = await api.client.post(
            "/chat", json={"message": "hi"}, headers={"Idempotency-Key": "k"}
        )
        return answer.status_code, answer.json()["request_id"]

    answers = await asyncio.gather(*(post() for _ in range(20)))
    assert sorted(status for status, _ in answers) == [200] * 19 + [202]
    assert len({request_id for _, request_id in answers}) == 1


async def test_the_same_key_with_another_body_is_a_conflict(api: RunningApi) -> None:
    headers = {"Idempotency-Key": "k1"}
    await api.client.post("/chat", json={"message": "hi"}, headers=headers)
    answer = await api.client.post("/chat", json={"message": "ho"}, headers=headers)
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "idempotency_conflict"


async def test_a_cancelled_request_keeps_its_text_and_stays_cancelled(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit()
    await worker.claim()
    await worker.type("Half")
    for _ in range(2):
        answer = await api.client.post(f"/chat/{request_id}/cancel")
        assert answer.status_code == 200
        assert answer.json() == {"request_id": request_id, "status": "cancelled"}
    view = await api.read(request_id)
    assert (view["status"], view["text"]) == ("cancelled", "Half")


async def test_cancelling_a_finished_request_returns_how_it_ended(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit()
    await worker.claim()
    await worker.finish()
    answer = await api.client.post(f"/chat/{request_id}/cancel", json={})
    assert answer.json()["status"] == "completed"


@pytest.mark.parametrize("is_running", [False, True])
async def test_an_erased_request_leaves_nothing_behind(
    api: RunningApi, worker: Rig, is_running: bool
) -> None:
    secret = "the launch code"
    request_id = await api.submit(secret)
    if is_running:
        await worker.claim()
        await worker.type(secret)
    answer = await api.client.delete(f"/chat/{request_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert (await api.client.get(f"/chat/{request_id}")).status_code == 404
    assert (await api.client.delete(f"/chat/{request_id}")).status_code == 404
    ask = worker.connections.ask
    assert await ask("EXISTS", KEYS.request(request_id), KEYS.log(request_id)) == 0
    assert (await api.client.get("/chat")).json()["requests"] == []


async def test_requests_are_listed_newest_first_and_page_by_page(api: RunningApi) -> None:
    ids = [await api.submit(str(number)) for number in range(7)]
    listed: list[str] = []
    after, pages = None, 0
    while True:
        query = {"limit": "3"} | ({"after": after} if after else {})
        page = (await api.client.get("/chat", params=query)).json()
        listed += [request["request_id"] for request in page["requests"]]
        pages += 1
        if (after := page["after"]) is None:
            break
    # Two requests of the same millisecond have no order, but the list must have both.
    assert sorted(listed) == sorted(ids)
    assert pages == 3


async def test_a_list_of_requests_can_be_filtered(api: RunningApi, worker: Rig) -> None:
    done = await api.submit("done", conversation_id="c1")
    await worker.claim()
    await worker.finish()
    waiting = await api.submit("waits", conversation_id="c2")

    async def ids(**query: str) -> list[str]:
        answer = await api.client.get("/chat", params=query)
        return [request["request_id"] for request in answer.json()["requests"]]

    assert await ids(status="completed") == [done]
    assert await ids(status="queued") == [waiting]
    assert await ids(conversation_id="c1") == [done]
    assert await ids(conversation_id="c1", status="queued") == []


async def test_a_list_of_requests_shows_no_text(api: RunningApi, worker: Rig) -> None:
    await api.submit("a question")
    await worker.claim()
    await worker.type("an answer")
    shown = (await api.client.get("/chat")).text
    assert "answer" not in shown
    assert "question" not in shown


async def test_a_full_queue_refuses_with_a_time_to_retry(redis_url: str) -> None:
    async with running_api(redis_url, queue_limit=1) as api:
        await api.submit()
        answer = await api.client.post("/chat", json={"message": "hi"})
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "queue_full"
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_tenant_at_its_limit_is_refused_with_a_time_to_retry(redis_url: str) -> None:
    async with running_api(redis_url, tenant_limit=1) as api:
        await api.submit()
        answer = await api.client.post("/chat", json={"message": "hi"})
    assert answer.status_code == 429
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_busy_conversation_rejects_a_request_that_asks_for_it(api: RunningApi) -> None:
    active = await api.submit(conversation_id="c1")
    answer = await api.client.post(
        "/chat", json={"message": "hi", "conversation_id": "c1", "on_busy": "reject"}
    )
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "conversation_busy"
    assert active in answer.json()["error"]["message"]


async def test_a_conversation_shows_its_turns(api: RunningApi, worker: Rig) -> None:
    first = await api.submit("one", conversation_id="c1")
    await worker.claim()
    await worker.type("eins")
    await worker.finish(answered="eins")
    second = await api.submit("two", conversation_id="c1", model="m")
    shown = (await api.client.get("/conversations/c1")).json()
    assert shown.pop("created_at") < shown.pop("updated_at")
    assert shown == {
        "conversation_id": "c1",
        "title": "one",
        "turns": [
            {
                "request_id": first,
                "parent_id": None,
                "asked": [{"role": "user", "content": "one"}],
                "answered": "eins",
                "status": "completed",
            },
            {
                "request_id": second,
                "parent_id": first,
                "asked": [{"role": "user", "content": "two"}],
                "answered": None,
                "status": None,
            },
        ],
        "active_request_id": second,
        "role": None,
        "model": "m",
        "temperature": None,
        "variables": None,
    }


async def test_a_conversation_shows_the_text_of_a_stopped_answer_and_its_tool_calls(
    api: RunningApi, worker: Rig
) -> None:
    stopped = await api.submit("one", conversation_id="c1")
    await worker.claim()
    await worker.type("half")
    await api.client.post(f"/chat/{stopped}/cancel")
    called = await api.submit("two", conversation_id="c1")
    await worker.claim()
    call = {"index": 0, "id": "k", "name": "look", "arguments": "{}"}
    await worker.finish(answered="", called={"calls": [call]})
    asked = [[{"role": "user", "content": content}] for content in ("one", "two")]
    turns = (await api.client.get("/conversations/c1")).json()["turns"]
    assert turns == [
        {
            "request_id": stopped,
            "parent_id": None,
            "asked": asked[0],
            "answered": "half",
            "status": "cancelled",
        },
        {
            "request_id": called,
            "parent_id": stopped,
            "asked": asked[1],
            "answered": "",
            "status": "completed",
            "tool_calls": [call],
        },
    ]


async def test_a_forgotten_conversation_is_gone_with_its_requests(api: RunningApi) -> None:
    request_id = await api.submit(conversation_id="c1")
    assert (await api.client.delete("/conversations/c1")).status_code == 204
    assert (await api.client.get("/conversations/c1")).status_code == 404
    assert (await api.client.get(f"/chat/{request_id}")).status_code == 404


async def test_a_request_whose_log_is_gone_is_not_found(api: RunningApi, worker: Rig) -> None:
    request_id = await api.submit()
    await worker.connections.ask("DEL", KEYS.log(request_id))
    assert (await api.client.get(f"/chat/{request_id}")).status_code == 404


async def test_the_queue_holds_the_prompt_as_it_was_sent(api: RunningApi, worker: Rig) -> None:
    text = 'quotes " and \\ and \u2028 and 😀 and {"json": true}'
    request_id = await api.submit(text)
    stored = await worker.connections.ask("HGET", KEYS.request(request_id), "payload")
    assert msgspec.json.decode(stored)["messages"] == [{"role": "user", "content": text}]


async def test_a_request_sets_the_variables_that_roles_list(api: RunningApi, worker: Rig) -> None:
    listed = {role["name"]: role for role in (await api.client.get("/roles")).json()["roles"]}
    assert list(listed["teacher"]["variables"]) == ["LEVEL"]
    await api.submit("hi", role="teacher", variables={"LEVEL": "a ${nurse}"})
    await worker.claim()
    assert worker.lease is not None
    system = worker.lease.payload["role_messages"][0]["content"]
    assert "The person in front of you is a ${nurse};" in system


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        ({"role": "teacher", "variables": {"AGE": "7"}}, "variables", "it has: LEVEL"),
        ({"role": "teacher", "variables": {"OS": "x"}}, "variables", "it has: LEVEL"),
        ({"role": "default", "variables": {"LEVEL": "x"}}, "variables", "it has: none"),
        ({"variables": {"LEVEL": "x"}}, "variables", "'default' has no variable 'LEVEL'"),
        ({"role": "teacher", "variables": {"LEVEL": 7}}, "variables.LEVEL", "string"),
        ({"role": "teacher", "variables": {"LEVEL": "x" * 65_537}}, "variables.LEVEL", "65536"),
        ({"role": "teacher", "variables": {"LEVEL": "\0"}}, "variables.LEVEL", "NUL"),
    ],
)
async def test_a_variable_that_a_role_does_not_list_is_refused_with_its_variables(
    api: RunningApi, fields: dict[str, object], param: str, reason: str
) -> None:
    answer = await api.client.post("/chat", json={"message": "hi", **fields})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_value", param)
    assert reason in error["message"]


async def test_roles_are_listed_and_shown(api: RunningApi) -> None:
    roles = (await api.client.get("/roles")).json()["roles"]
    names = [role["name"] for role in roles]
    assert "cli" in names
    assert names == sorted(names)
    role = (await api.client.get("/roles/cli")).json()
    assert role["messages"][0]["role"] == "system"
    unknown = await api.client.get("/roles/ninja")
    assert unknown.status_code == 404
    assert unknown.json()["error"]["code"] == "role_not_found"
