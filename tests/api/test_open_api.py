"""An API without keys serves this machine only, unless its operator opens it."""

from collections.abc import AsyncIterator

import pytest
import structlog
from pydantic import SecretStr
from starlette.datastructures import Headers

from tests.support.given_settings import GivenSettings
from tests.support.running_api import RunningApi, running_api
from tickertape.api.app import create_app
from tickertape.api.edge.open_api import is_of_another_site
from tickertape.api.serving.server import _warn_of_access
from tickertape.broker.errors import SettingsInvalid

KEY = "a-key-of-tenant-one"
PROXIED = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "https",
    "Forwarded": "for=203.0.113.9",
    "Via": "1.1 proxy",
    "X-Real-IP": "203.0.113.9",
}


@pytest.fixture
async def opened(redis_url: str) -> AsyncIterator[RunningApi]:
    """An API that the operator opened to all, with one allowed origin."""
    async with running_api(
        redis_url, open_to_all=True, cors_origins="https://friend.example"
    ) as api:
        yield api


@pytest.mark.parametrize("name", PROXIED)
async def test_a_call_through_a_proxy_is_refused_without_keys(api: RunningApi, name: str) -> None:
    for path in ("/", "/roles", "/healthz"):
        answer = await api.client.get(path, headers={name: PROXIED[name]})
        assert answer.status_code == 403
        error = answer.json()["error"]
        assert error["code"] == "forbidden_proxy"
        assert "TICKERTAPE_API_KEYS" in error["message"]
        assert "--open" in error["message"]


@pytest.mark.parametrize("name", PROXIED)
async def test_a_call_through_a_proxy_is_served_if_the_operator_opens_the_api(
    opened: RunningApi, name: str
) -> None:
    assert (await opened.client.get("/roles", headers={name: PROXIED[name]})).status_code == 200


async def test_a_call_through_a_proxy_is_served_with_keys(redis_url: str) -> None:
    async with running_api(
        redis_url, api_keys=f"one:{KEY}", headers={"Authorization": f"Bearer {KEY}"}
    ) as api:
        assert (await api.client.get("/roles", headers=PROXIED)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
async def test_a_page_of_another_origin_cannot_stop_an_answer(
    api: RunningApi, opened: RunningApi, headers: dict[str, str]
) -> None:
    for each in (api, opened):
        request_id = await each.submit()
        answer = await each.client.post(f"/chat/{request_id}/cancel", headers=headers)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden_origin"
        assert (await each.client.post("/api/chat/x/stop", headers=headers)).status_code == 403
        assert (await each.read(request_id))["status"] == "queued"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://friend.example"},
    ],
)
async def test_our_page_programs_and_allowed_origins_can_stop_an_answer(
    opened: RunningApi, headers: dict[str, str]
) -> None:
    request_id = await opened.submit()
    answer = await opened.client.post(f"/chat/{request_id}/cancel", headers=headers)
    assert answer.status_code == 200


def test_a_page_is_ours_if_its_origin_is_the_host_that_it_calls() -> None:
    ours = Headers({"origin": "http://192.168.0.9:8000", "host": "192.168.0.9:8000"})
    other = Headers({"origin": "http://192.168.0.9:9000", "host": "192.168.0.9:8000"})
    assert not is_of_another_site(ours, frozenset())
    assert is_of_another_site(other, frozenset())


def test_every_origin_is_allowed_with_keys_only() -> None:
    url = "redis://127.0.0.1:1"
    with pytest.raises(SettingsInvalid, match=r"TICKERTAPE_CORS_ORIGINS=\*.*TICKERTAPE_API_KEYS"):
        create_app(GivenSettings(redis_url=url, cors_origins="*"), open_to_all=True)
    create_app(GivenSettings(redis_url=url, cors_origins="*", require_keys=True))


def test_a_start_without_keys_is_a_warning() -> None:
    with structlog.testing.capture_logs() as logged:
        _warn_of_access(GivenSettings(), "127.0.0.1")
    (line,) = logged
    assert (line["log_level"], line["event"]) == ("warning", "open: no keys")
    assert "TICKERTAPE_API_KEYS" in line["fix"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "8.8.8.8", "tape.example"])
def test_keys_in_clear_on_a_public_address_are_a_warning_that_names_the_fix(host: str) -> None:
    settings = GivenSettings(api_keys=SecretStr(f"one:{KEY}"))
    with structlog.testing.capture_logs() as logged:
        _warn_of_access(settings, host)
    (line,) = logged
    assert (line["log_level"], line["event"]) == ("warning", "keys in clear")
    assert "TICKERTAPE_TRUSTED_PROXIES" in line["fix"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "10.0.0.7"])
def test_keys_on_an_inner_address_are_no_warning(host: str) -> None:
    with structlog.testing.capture_logs() as logged:
        _warn_of_access(GivenSettings(api_keys=SecretStr(f"one:{KEY}")), host)
        _warn_of_access(
            GivenSettings(api_keys=SecretStr(f"one:{KEY}"), trusted_proxies="10.0.0.1"), "0.0.0.0"
        )
    assert logged == []
