"""The way to the upstream: its account, and the proxies that lead there or do not."""

import base64
import logging

import pytest

from tests.support.reading import KEY, Reading
from tests.support.script import Status, answer
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.errors import SettingsInvalid
from tickertape.worker.upstream.address import parse_address
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import Rejected

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
# Nothing listens there: whatever goes through it is lost.
DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


def basic(account: str) -> str:
    return f"Basic {base64.b64encode(account.encode()).decode()}"


@pytest.mark.parametrize(
    ("url", "expected", "account"),
    [
        ("https://api.example/v1", "https://api.example/v1", None),
        ("https://me:pass@api.example/v1", "https://api.example/v1", "me:pass"),
        ("https://me:p%40s%2Fs@api.example:8443/v1", "https://api.example:8443/v1", "me:p@s/s"),
        ("http://me:p@[::1]:8080/v1", "http://[::1]:8080/v1", "me:p"),
        ("https://key@api.example", "https://api.example", "key:"),
        ("https://:pass@api.example", "https://api.example", ":pass"),
        ("https://%C3%A9:%C3%A4@api.example", "https://api.example", "é:ä"),
    ],
)
def test_an_account_in_the_address_becomes_basic_authorization(
    url: str, expected: str, account: str | None
) -> None:
    address = parse_address(url)
    assert address.url == expected
    assert address.authorization == (account and basic(account))


def test_an_address_is_not_shown_with_its_account() -> None:
    address = parse_address("https://me:sesame@api.example/v1")
    assert "sesame" not in repr(address)
    assert str(address.authorization) not in repr(address)
    assert "sesame" in address.passwords


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        (None, False),
        ("http://127.0.0.1:8080/v1", True),
        ("http://127.1.2.3/v1", True),
        ("http://[::1]:8080/v1", True),
        ("http://localhost:11434/v1", True),
        ("http://LOCALHOST/v1", True),
        ("http://0.0.0.0:8000/v1", True),
        ("http://me:p@localhost/v1", True),
        ("https://api.openai.com/v1", False),
        ("http://192.168.1.2/v1", False),
        ("http://host.docker.internal/v1", False),
        ("http://localhost.example.com/v1", False),
    ],
)
def test_an_upstream_on_this_machine_is_known(url: str | None, is_local: bool) -> None:
    assert parse_address(url).is_local == is_local


async def test_an_account_in_the_address_is_sent_and_never_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """open-webui#28682."""
    caplog.set_level(logging.DEBUG)
    async with ScriptedUpstream(authorization=basic("me:p@ss word")) as scripted:
        url = scripted.base_url.replace("://", "://me:p%40ss%20word@")
        async with Upstream(url, KEY) as upstream:
            assert await upstream.list_models()
            reading = Reading()
            await reading.run(upstream)
    assert (reading.text, reading.error) == ("Hello, world.", None)
    for secret in ("p@ss", "p%40ss", basic("me:p@ss word").split()[1]):
        assert secret not in caplog.text


async def test_an_account_that_is_refused_is_not_quoted() -> None:
    async with ScriptedUpstream() as scripted:
        quoting = f"no entry for me:sesame or {basic('me:sesame')}"
        scripted.enqueue([Status(403, body={"error": {"message": quoting}})])
        url = scripted.base_url.replace("://", "://me:sesame@")
        async with Upstream(url, KEY) as upstream:
            reading = Reading()
            await reading.run(upstream)
    assert isinstance(reading.error, Rejected)
    assert "no entry for me:[…]" in reading.error.message
    assert "sesame" not in reading.error.message
    assert basic("me:sesame").split()[1] not in reading.error.message


@pytest.mark.parametrize("name", PROXIES)
async def test_a_local_upstream_is_called_without_any_proxy(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, name: str
) -> None:
    """NemoClaw#2616."""
    monkeypatch.setenv(name, DEAD)
    async with Upstream(upstream.base_url, KEY) as client:
        assert await client.list_models()
        reading = Reading()
        await reading.run(client)
    assert (reading.text, reading.error) == ("Hello, world.", None)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
async def test_any_other_upstream_is_called_through_the_proxy(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, name: str
) -> None:
    monkeypatch.setenv(name, upstream.base_url.removesuffix("/v1"))
    upstream.enqueue(answer("Through the proxy."))
    async with Upstream("http://me:sesame@upstream.invalid/v1", KEY) as client:
        reading = Reading()
        await reading.run(client)
    assert (reading.text, reading.error) == ("Through the proxy.", None)
    assert upstream.calls[0].path == "http://upstream.invalid/v1/chat/completions"


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
async def test_an_exempt_upstream_is_called_without_the_proxy(
    monkeypatch: pytest.MonkeyPatch, upstream: ScriptedUpstream, name: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", upstream.base_url.removesuffix("/v1"))
    monkeypatch.setenv(name, "upstream.invalid")
    async with Upstream("http://upstream.invalid/v1", KEY) as client:
        reading = Reading()
        await reading.run(client)
    assert reading.error is not None
    assert not upstream.calls


async def test_a_wrong_proxy_is_reported_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://me:sesame@127.0.0.1:9")
    with pytest.raises(SettingsInvalid, match="ALL_PROXY") as caught:
        async with Upstream("http://upstream.invalid/v1", KEY):
            pass
    assert "sesame" not in str(caught.value)
