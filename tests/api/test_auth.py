"""API keys: their notation, the callers that they admit, and the separation of tenants."""

import hashlib
from pathlib import Path

import httpx2
import pytest
import structlog

from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge.listed_keys import KeyFile, Keys, keys_from, parse_keys
from tickertape.api.services import ApiTiming
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

# The key file is checked at each call.
RELOADING = ApiTiming(key_reload_s=0)

ADA, BOB = (
    {"Authorization": "Bearer the-key-of-ada-01"},
    {"Authorization": "Bearer the-key-of-bob-01"},
)
KEYS = "ada:the-key-of-ada-01,bob:the-key-of-bob-01"


def tenant_of(keys: Keys, key: str) -> str | None:
    caller = keys.find(key)
    return None if caller is None else caller.tenant


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "text",
    [
        KEYS,
        " ada:the-key-of-ada-01 , bob:the-key-of-bob-01 ,",
        "ada:the-key-of-ada-01\nbob:the-key-of-bob-01\n",
        "# who may\nada:the-key-of-ada-01\n\n  # a friend\nbob:the-key-of-bob-01",
        f"ada:{sha256('the-key-of-ada-01')},bob:{sha256('the-key-of-bob-01').upper()}",
    ],
)
def test_api_keys_are_plain_or_hashed_and_on_one_line_or_several(text: str) -> None:
    keys = parse_keys(text)
    assert tenant_of(keys, "the-key-of-ada-01") == "ada"
    assert tenant_of(keys, "the-key-of-bob-01") == "bob"
    assert tenant_of(keys, "the-key-of-ada-01 ") is None
    assert tenant_of(keys, sha256("the-key-of-ada-01")) is None


def test_a_tenant_may_have_several_keys_and_a_key_may_hold_colons() -> None:
    keys = parse_keys("ada:one-key-of-ada-01,ada:two:key-of-ada-01")
    assert tenant_of(keys, "one-key-of-ada-01") == tenant_of(keys, "two:key-of-ada-01") == "ada"


@pytest.mark.parametrize("text", ["", " , ", "# nobody", "secret", "ada:", ":secret", "a b:secret"])
def test_wrong_keys_stop_the_start_and_are_not_shown(text: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        parse_keys(text)
    assert "TICKERTAPE_API_KEYS" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_keys_are_held_as_hashes_only() -> None:
    assert "the-key-of-ada-01" not in str(vars(parse_keys(KEYS)))
    assert isinstance(parse_keys(KEYS), Keys)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nobody-has-this-key"},
        {"Authorization": "Basic the-key-of-ada-01"},
        {"Authorization": "the-key-of-ada-01"},
    ],
)
async def test_a_call_without_a_valid_key_is_refused_before_its_body_is_read(
    redis_url: str, headers: dict[str, str]
) -> None:
    async with running_api(redis_url, api_keys=KEYS) as api:
        for path in ("/chat", "/roles", "/metrics", "/nowhere"):
            answer = await api.client.get(path, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.json()["error"]["code"] == "invalid_api_key"
        broken = await api.client.post("/chat", content=b"{", headers=headers)
        assert broken.status_code == 401
        text = await api.client.post("/api/gpt/get", json={"message": "hi"}, headers=headers)
        assert (text.status_code, text.text[:1]) in {(401, "A"), (401, "T")}


async def test_the_page_and_the_probes_need_no_key(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS) as api:
        for path in ("/", "/client.js", "/healthz", "/readyz", "/openapi.json"):
            assert (await api.client.get(path)).status_code == 200


async def test_with_keys_any_host_name_is_served(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS, headers=ADA) as api:
        answer = await api.client.get("/roles", headers={"Host": "tape.example"})
        assert answer.status_code == 200


async def test_a_tenant_never_sees_another_tenants_requests(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS, headers=ADA) as api:
        request_id = await api.submit(conversation_id="c1")
        for method, path in (
            ("GET", f"/chat/{request_id}"),
            ("GET", f"/chat/{request_id}/stream"),
            ("POST", f"/chat/{request_id}/cancel"),
            ("DELETE", f"/chat/{request_id}"),
            ("GET", "/conversations/c1"),
            ("DELETE", "/conversations/c1"),
        ):
            answer = await api.client.request(method, path, headers=BOB)
            assert answer.status_code == 404, path
        assert (await api.client.get("/chat", headers=BOB)).json()["requests"] == []
        assert (await api.read(request_id))["status"] == "queued"


async def test_the_same_idempotency_key_of_two_tenants_is_two_requests(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS) as api:
        ids = set()
        for tenant in (ADA, BOB):
            headers = {**tenant, "Idempotency-Key": "k"}
            answer = await api.client.post("/chat", json={"message": "hi"}, headers=headers)
            assert answer.status_code == 202
            ids.add(answer.json()["request_id"])
    assert len(ids) == 2


async def test_a_hash_is_not_accepted_as_a_key_and_the_refusal_explains_it(redis_url: str) -> None:
    hashed = sha256("the-key-of-ada-01")
    async with running_api(redis_url, api_keys=f"ada:{hashed}") as api:
        answer = await api.client.get("/roles", headers={"Authorization": f"Bearer {hashed}"})
        assert answer.status_code == 401
        assert "SHA-256" in answer.json()["error"]["message"]
        assert (await api.client.get("/roles", headers=ADA)).status_code == 200


async def status(api: RunningApi, headers: dict[str, str]) -> int:
    return (await api.client.get("/roles", headers=headers)).status_code


async def test_a_key_file_is_read_again_when_it_changes(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\n")
    async with running_api(redis_url, api_keys=f"@{path}", timing=RELOADING) as api:
        assert (await status(api, ADA), await status(api, BOB)) == (200, 401)
        path.write_text("bob:the-key-of-bob-01\n")
        assert (await status(api, ADA), await status(api, BOB)) == (401, 200)


@pytest.mark.parametrize(
    "text", ["nonsense", None, "", "\n", "eve:the-key-of-eve-01 scopes=read", "eve:short\n"]
)
async def test_an_invalid_key_file_keeps_the_last_valid_keys(
    redis_url: str, tmp_path: Path, text: str | None
) -> None:
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\n")
    async with running_api(redis_url, api_keys=f"@{path}", timing=RELOADING) as api:
        if text is None:
            path.unlink()
        else:
            path.write_text(text)
        with structlog.testing.capture_logs() as logged:
            assert await status(api, ADA) == 200
            assert await status(api, ADA) == 200
        assert [line["event"] for line in logged] == ["API keys not reloaded"]
        assert "nonsense" not in str(logged)
        path.write_text("bob:the-key-of-bob-01\n")
        assert await status(api, BOB) == 200


@pytest.mark.parametrize("item", ["ada:" + "k" * 15])
def test_a_key_that_can_be_guessed_stops_the_start(item: str) -> None:
    with pytest.raises(SettingsInvalid, match="fewer than 16 characters") as refused:
        parse_keys(item)
    assert item[4:] not in str(refused.value)


async def test_a_key_that_is_taken_from_the_file_ends_its_open_streams(
    redis_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\n")
    timing = ApiTiming(key_reload_s=0, access_interval_s=0.02)
    async with running_api(redis_url, api_keys=f"@{path}", timing=timing, headers=ADA) as api:
        request_id = await api.submit()
        async with api.client.stream("GET", f"/chat/{request_id}/stream") as stream:
            path.write_text("bob:the-key-of-bob-01\n")
            with pytest.raises(httpx2.TransportError):
                await stream.aread()


def test_a_key_file_is_checked_at_most_once_a_second(tmp_path: Path) -> None:
    now_s = 100.0
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\n")
    keys = KeyFile(path, clock=lambda: now_s)
    path.write_text("bob:another-key-of-bob\n")
    assert tenant_of(keys(), "the-key-of-ada-01") == "ada"
    now_s += 1
    assert tenant_of(keys(), "another-key-of-bob") == "bob"


def test_a_key_file_that_is_wrong_is_refused_until_it_is_right_again(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("ada:the-key-of-ada-01\n")
    keys = KeyFile(path, 0)
    seen = []
    for text in ("ada:the-key", "ada:the-key-of-ada-02\n"):
        path.write_text(text)
        keys()
        seen.append(keys.is_refused)
    assert seen == [True, False]


def test_a_missing_key_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        keys_from(Settings(api_keys=f"@{tmp_path / 'none'}"))  # type: ignore[arg-type]  # as the environment gives it
