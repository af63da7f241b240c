"""What proxies in front do to a call, and the headers of every answer."""

import pytest
from starlette.datastructures import Headers

from tests.support.raw import exchange
from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.front import client_address
from tickertape.runtime.networks import networks_of
from tickertape.runtime.settings import Settings

PROXIES = networks_of("10.0.0.0/8, 2001:db8::/32")
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


@pytest.mark.parametrize(
    ("near", "headers", "client"),
    [
        ("10.0.0.1", {"x-forwarded-for": "203.0.113.9"}, "203.0.113.9"),
        ("10.0.0.1", {"x-forwarded-for": "198.51.100.1, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"),
        ("10.0.0.1", {"x-forwarded-for": "203.0.113.9:4711"}, "203.0.113.9"),
        ("10.0.0.1", {"x-forwarded-for": "unknown"}, "10.0.0.1"),
        ("10.0.0.1", {}, "10.0.0.1"),
        ("10.0.0.1", {"forwarded": 'for="[2001:db9::1]:80";proto=https'}, "2001:db9::1"),
        ("10.0.0.1", {"forwarded": "for=198.51.100.1, for=203.0.113.9"}, "203.0.113.9"),
        ("2001:db8::7", {"x-forwarded-for": "203.0.113.9"}, "203.0.113.9"),
        # Anybody can send these headers, so only those of a trusted proxy count.
        ("203.0.113.1", {"x-forwarded-for": "127.0.0.1"}, "203.0.113.1"),
        ("203.0.113.1", {"forwarded": "for=127.0.0.1"}, "203.0.113.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(
    near: str, headers: dict[str, str], client: str
) -> None:
    assert client_address(near, Headers(headers), PROXIES) == client


async def test_every_answer_has_the_headers_that_protect_a_browser(api: RunningApi) -> None:
    request_id = await api.submit()
    for path in ("/", "/page.js", "/roles", "/nothing", "/healthz", "/openapi.json"):
        answer = await api.client.get(path)
        assert SAFE.items() <= dict(answer.headers).items() or all(
            answer.headers[name] == value for name, value in SAFE.items()
        )
        assert "Strict-Transport-Security" not in answer.headers
    async with api.client.stream("GET", f"/chat/{request_id}/stream") as stream:
        assert all(stream.headers[name] == value for name, value in SAFE.items())
    raw = await exchange(api.url, b"garbage\r\n\r\n")
    assert all(f"{name}: {value}".lower().encode() in raw.lower() for name, value in SAFE.items())


async def test_https_is_demanded_if_the_operator_says_so(redis_url: str) -> None:
    async with running_api(redis_url, hsts_s=86400) as api:
        answer = await api.client.get("/healthz")
    assert answer.headers["Strict-Transport-Security"] == "max-age=86400"


@pytest.mark.parametrize("prefix", ["", "/llm"], ids=["taken off", "left"])
async def test_the_api_works_under_a_root_path(redis_url: str, prefix: str) -> None:
    async with running_api(redis_url, root_path="llm/") as api:
        answer = await api.client.post(f"{prefix}/chat", json={"message": "hi"})
        request_id = answer.json()["request_id"]
        assert answer.headers["Location"] == f"/llm/chat/{request_id}"
        assert (await api.client.get(f"{prefix}/chat/{request_id}")).status_code == 200
        page = await api.client.get(f"{prefix}/")
        assert page.status_code == 200
        assert 'src="/' not in page.text
        assert 'href="/' not in page.text
        document = (await api.client.get(f"{prefix}/openapi.json")).json()
        assert document["servers"][0]["url"] == "/llm"
        assert (await api.client.get(f"{prefix}/healthz")).status_code == 200
        assert (await api.client.get("/llmx/healthz")).status_code == 404


async def test_the_page_is_found_without_its_last_slash(redis_url: str) -> None:
    async with running_api(redis_url, root_path="/llm") as api:
        answer = await api.client.get("/llm", follow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (307, "/llm/")


async def test_a_key_is_needed_under_a_root_path_too(redis_url: str) -> None:
    async with running_api(redis_url, root_path="/llm", api_keys="one:a-key-of-one-tenant") as api:
        for path in ("/llm/roles", "/llm/llm/roles", "/llm//roles", "/roles"):
            assert (await api.client.get(path)).status_code == 401


@pytest.mark.parametrize("path", ["http://x", "/a b", "/a?b", "//a//b", "/ä", "/../a", "/a/."])
def test_a_root_path_that_is_not_a_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="use a path such as /llm"):
        Settings(root_path=path)
