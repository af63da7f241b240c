"""The middleware in front of the routes: host names, origins, and the last resort."""

import asyncio
from typing import Any

import pytest
import structlog
from starlette.types import Message, Receive, Scope, Send

from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.guards import LastResort, check_bind
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_loopback

KEY = "a-key-of-tenant-one"
KEYS = f"one:{KEY}"
SECRET = "the launch code is 1234"


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST", "app.localhost", "127.0.0.1", "127.8.9.1", "::1"]
)
def test_a_loopback_name_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "192.168.1.5", "example.com", "localhost.example.com", "1"]
)
def test_other_host_names_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_an_api_without_keys_serves_other_machines_only_if_the_operator_insists() -> None:
    with pytest.raises(SettingsInvalid, match=r"TICKERTAPE_API_KEYS.*--open"):
        check_bind("0.0.0.0", has_keys=False, open_to_all=False)
    check_bind("0.0.0.0", has_keys=True, open_to_all=False)
    check_bind("0.0.0.0", has_keys=False, open_to_all=True)
    check_bind("127.0.0.1", has_keys=False, open_to_all=False)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "LocalHost"])
async def test_an_open_api_answers_to_loopback_names(api: RunningApi, host: str) -> None:
    assert (await api.client.get("/roles", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", "a@localhost"]
)
async def test_a_page_that_rebinds_its_host_name_is_refused(api: RunningApi, host: str) -> None:
    for path in ("/", "/roles", "/healthz"):
        answer = await api.client.get(path, headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden_host"


async def test_an_api_whose_operator_insists_serves_every_host_name(redis_url: str) -> None:
    async with running_api(redis_url, open_to_all=True) as api:
        answer = await api.client.get("/roles", headers={"Host": "tape.example"})
    assert answer.status_code == 200


async def test_a_page_of_another_origin_may_not_post(api: RunningApi) -> None:
    headers = {
        "Origin": "https://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = await api.client.options("/chat", headers=headers)
    assert "Access-Control-Allow-Origin" not in preflight.headers


async def test_only_allowed_origins_get_cors_headers(redis_url: str) -> None:
    async with running_api(redis_url, cors_origins="https://a.example, https://b.example") as api:
        allowed = await api.client.get("/roles", headers={"Origin": "https://b.example"})
        other = await api.client.get("/roles", headers={"Origin": "https://c.example"})
        refused = await api.client.post(
            "/chat", content=b"x", headers={"Origin": "https://a.example"}
        )
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "Access-Control-Allow-Origin" not in other.headers
    # A page of an allowed origin must be able to read errors.
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"


async def test_a_wildcard_origin_never_allows_credentials(redis_url: str) -> None:
    async with running_api(redis_url, cors_origins="*", api_keys=KEYS) as api:
        headers = {"Origin": "https://c.example", "Authorization": f"Bearer {KEY}"}
        answer = await api.client.get("/roles", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


async def test_a_defect_is_answered_with_a_500_that_reveals_nothing(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(api.services.requests, "submit", fail)
    with structlog.testing.capture_logs() as logged:
        native = await api.client.post("/chat", json={"message": SECRET})
        text = await api.client.post("/api/gpt/get", json={"message": SECRET})
    assert (native.status_code, text.status_code) == (500, 500)
    assert native.json()["error"]["type"] == "server_error"
    assert native.json()["error"]["code"] == "internal"
    assert text.headers["Content-Type"].startswith("text/plain")
    assert [line["event"] for line in logged] == ["request failed", "request failed"]
    assert logged[0]["error"] == "RuntimeError"
    assert any("fail" in frame for frame in logged[0]["at"])
    for output in (native.text, text.text, str(logged)):
        assert "launch" not in output


async def test_a_defect_after_the_response_head_aborts_the_response() -> None:
    sent: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError(SECRET)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    with structlog.testing.capture_logs() as logged:
        await LastResort(app, forms=ErrorForms({}))({"type": "http", "path": "/x"}, receive, send)
    assert sent == ["http.response.start"]
    assert logged[0]["error"] == "RuntimeError"
    assert "launch" not in str(logged)


async def test_a_call_that_a_shutdown_cancels_is_answered_503_and_not_500() -> None:
    waits = asyncio.Event()
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        waits.set()
        await asyncio.Event().wait()

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        sent.append(message)

    guard = LastResort(app, forms=ErrorForms({}))
    call = asyncio.create_task(guard({"type": "http", "path": "/x"}, receive, send))
    await waits.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
