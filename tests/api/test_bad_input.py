"""Every mistake of a caller gets a 4xx that names the fault, and never a 500.

One server for all of them: what is refused leaves nothing behind, which is tested, too.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import redis

from tests.support.running_api import RunningApi, running_api
from tests.support.servers import ValkeyServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(redis_server: ValkeyServer) -> AsyncIterator[RunningApi]:
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()  # what another test left, such as other partitions
    async with running_api(redis_server.url) as running:
        yield running


HI = {"role": "user", "content": "hi"}
FAR_FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://example.org/a.pdf"}}
ODD_SOUND = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}

WRONG_FIELDS: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown field", {"message": "hi", "temprature": 1}, "temprature"),
    ("neither message nor messages", {}, "message"),
    ("both message and messages", {"message": "hi", "messages": [HI]}, "message"),
    ("an empty message", {"message": ""}, "message"),
    ("a message that is a number", {"message": 5}, "message"),
    ("a message that is a list", {"message": [HI]}, "message"),
    ("no messages", {"messages": []}, "messages"),
    ("a message without a role", {"messages": [{"content": "hi"}]}, "messages[0].role"),
    ("an unknown speaker", {"messages": [{**HI, "role": "god"}]}, "messages[0].role"),
    ("a message without content", {"messages": [HI, {"role": "user"}]}, "messages[1]"),
    ("content of a wrong type", {"messages": [{**HI, "content": 5}]}, "messages[0].content"),
    ("an unknown field of a message", {"messages": [{**HI, "x": 1}]}, "messages[0].x"),
    (
        "an unknown kind of part",
        {"messages": [{**HI, "content": [{"type": "video"}]}]},
        "messages[0].content[0].type",
    ),
    (
        "a part without what it names",
        {"messages": [{**HI, "content": [{"type": "text"}]}]},
        "messages[0].content[0]",
    ),
    (
        "a file by URL, which no server fetches",
        {"messages": [{**HI, "content": [FAR_FILE]}]},
        "messages[0].content[0].file.file_data",
    ),
    (
        "sound in a form that no model takes",
        {"messages": [{**HI, "content": [ODD_SOUND]}]},
        "messages[0].content[0].input_audio.format",
    ),
    ("a temperature too high", {"message": "hi", "temperature": 2.1}, "temperature"),
    ("a temperature below zero", {"message": "hi", "temperature": -0.1}, "temperature"),
    ("a temperature in words", {"message": "hi", "temperature": "hot"}, "temperature"),
    ("a top_p too high", {"message": "hi", "top_p": 1.5}, "top_p"),
    ("no tokens", {"message": "hi", "max_tokens": 0}, "max_tokens"),
    ("half a token", {"message": "hi", "max_tokens": 1.5}, "max_tokens"),
    ("a model's name too long", {"message": "hi", "model": "m" * 201}, "model"),
    ("an empty model", {"message": "hi", "model": ""}, "model"),
    ("a conversation with a slash", {"message": "hi", "conversation_id": "a/b"}, "conversation_id"),
    ("an empty conversation", {"message": "hi", "conversation_id": ""}, "conversation_id"),
    ("a long conversation", {"message": "hi", "conversation_id": "c" * 201}, "conversation_id"),
    ("an unknown on_busy", {"message": "hi", "on_busy": "wait"}, "on_busy"),
    ("an unknown on_interruption", {"message": "hi", "on_interruption": "x"}, "on_interruption"),
    (
        "too much metadata",
        {"message": "hi", "metadata": {str(n): "" for n in range(17)}},
        "metadata",
    ),
    ("metadata that is no text", {"message": "hi", "metadata": {"a": 1}}, "metadata.a"),
    ("metadata too long", {"message": "hi", "metadata": {"a": "x" * 513}}, "metadata.a"),
    ("NUL in a message", {"message": "a\0b"}, "message"),
    ("NUL deep down", {"messages": [{**HI, "name": "a\0"}]}, "messages[0].name"),
    ("half a surrogate pair", {"message": "\ud83d"}, "message"),
    ("half a pair in metadata", {"message": "hi", "metadata": {"a": "\udc00"}}, "metadata.a"),
    ("a number without end", {"message": "hi", "temperature": float("nan")}, "temperature"),
    ("endless nesting", {"messages": json.loads("[" * 200 + "]" * 200)}, "messages"),
]


@pytest.mark.parametrize(
    ("body", "param"), [row[1:] for row in WRONG_FIELDS], ids=[row[0] for row in WRONG_FIELDS]
)
async def test_a_wrong_field_is_refused_by_its_name(
    api: RunningApi, body: dict[str, Any], param: str
) -> None:
    answer = await api.client.post(
        "/chat", content=json.dumps(body), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert error["param"] == param
    assert param in error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["code"] in {"invalid_value", "missing_field", "unknown_field"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"message": "hi"',
        b"[]",
        b'"hi"',
        b"null",
        b"\xff\xfe",
        b'{"message": "\xff"}',
        b"[" * 50_000,
        b"1" * 10_000,
    ],
    ids=lambda body: repr(body[:12]),
)
async def test_a_body_that_is_not_a_json_object_is_refused(api: RunningApi, body: bytes) -> None:
    answer = await api.client.post(
        "/chat", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] in {"invalid_json", "invalid_body"}


@pytest.mark.parametrize("key", ["", "a b", "é", "k" * 256])
async def test_a_wrong_idempotency_key_is_refused(api: RunningApi, key: str) -> None:
    answer = await api.client.post(
        "/chat", json={"message": "hi"}, headers={b"Idempotency-Key": key.encode()}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "idempotency-key"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("status=held", "status"),
        ("after=yesterday", "after"),
    ],
)
async def test_a_wrong_query_is_refused_by_its_name(
    api: RunningApi, query: str, param: str
) -> None:
    answer = await api.client.get(f"/chat?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/chat/{}"),
        ("GET", "/chat/{}/stream"),
        ("POST", "/chat/{}/cancel"),
        ("DELETE", "/chat/{}"),
    ],
)
@pytest.mark.parametrize(
    "request_id",
    ["r0_aaaaaaaaaaaaaaaaaaaaaaaaaa", "r9_aaaaaaaaaaaaaaaaaaaaaaaaaa", "x", "%00", "%F0", "*"],
)
async def test_an_unknown_request_is_not_found(
    api: RunningApi, method: str, path: str, request_id: str
) -> None:
    answer = await api.client.request(method, path.format(request_id))
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_an_unknown_conversation_is_not_found(api: RunningApi, method: str) -> None:
    answer = await api.client.request(method, "/conversations/nobody")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def test_an_unknown_path_gets_a_404_in_the_shape_of_all_errors(api: RunningApi) -> None:
    answer = await api.client.get("/nowhere?secret=1")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "There is nothing at this path.",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        }
    }


async def test_a_wrong_method_is_refused_with_the_allowed_ones(api: RunningApi) -> None:
    answer = await api.client.put("/chat")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET, POST"
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def test_an_unknown_role_is_refused_with_the_known_names(api: RunningApi) -> None:
    answer = await api.client.post("/chat", json={"message": "hi", "role": "ninja"})
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("role", "role_not_found")
    assert "translator" in error["message"]


async def test_a_body_of_the_maximum_size_is_accepted_and_one_byte_more_is_not(
    api: RunningApi,
) -> None:
    limit = api.services.settings.max_body_bytes
    envelope = len(json.dumps({"message": ""}))
    largest = json.dumps({"message": "x" * (limit - envelope)})
    headers = {"Content-Type": "application/json"}
    assert (await api.client.post("/chat", content=largest, headers=headers)).status_code == 202
    refused = await api.client.post("/chat", content=largest + " ", headers=headers)
    assert refused.status_code == 413
    assert refused.json()["error"]["code"] == "body_too_large"


async def test_a_body_without_a_content_length_is_counted(api: RunningApi) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1_100_000

    answer = await api.client.post(
        "/chat", content=chunks(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_content_types_that_any_web_page_may_post_are_refused(
    api: RunningApi, media_type: str
) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    answer = await api.client.post("/chat", content=b'{"message": "hi"}', headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


async def test_refused_requests_are_not_in_the_queue(api: RunningApi) -> None:
    before = (await api.client.get("/chat")).json()
    for body in ({"message": ""}, {"message": "hi", "role": "ninja"}):
        await api.client.post("/chat", json=body)
    assert (await api.client.get("/chat")).json() == before
