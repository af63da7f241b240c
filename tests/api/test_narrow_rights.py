"""Rights that are narrow stay narrow: what a limited key or a ticket cannot reach by a detour."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis

from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.api.edge.caller import Caller, Only
from tickertape.api.edge.listed_keys import parse_keys
from tickertape.api.edge.problems import Problem
from tickertape.api.services import ApiTiming
from tickertape.runtime.settings import Settings

FAST = ApiTiming(access_interval_s=0.02)
KEYS = (
    "ada:the-key-of-ada-01,ada:a-key-to-submit-01 scopes=submit+read,"
    "ada:a-key-of-small-01 models=small"
)
ADA, SUBMITS, SMALL = (
    {"Authorization": f"Bearer {key}"}
    for key in ("the-key-of-ada-01", "a-key-to-submit-01", "a-key-of-small-01")
)


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, api_keys=KEYS, timing=FAST) as running:
        yield running


async def submit(api: RunningApi, headers: dict[str, str], **fields: object) -> tuple[int, str]:
    body = {"message": "hi", "conversation_id": "c", **fields}
    answer = await api.client.post("/chat", json=body, headers=headers)
    return answer.status_code, answer.json().get("error", {}).get("code", "")


async def test_a_short_retention_is_no_way_to_erase_a_conversation(api: RunningApi) -> None:
    assert await submit(api, SUBMITS, retention_s=1) == (403, "missing_scope")
    assert (await submit(api, SUBMITS))[0] == 202
    short = {"retention_s": 1}
    refused = await api.client.patch("/conversations/c", json=short, headers=SUBMITS)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "missing_scope")
    assert (await api.client.patch("/conversations/c", json=short, headers=ADA)).status_code == 200


async def test_a_replacement_is_no_way_to_cancel_the_answers_of_others(api: RunningApi) -> None:
    assert (await submit(api, ADA))[0] == 202
    assert await submit(api, SUBMITS, on_busy="replace") == (403, "missing_scope")
    assert (await submit(api, ADA, on_busy="replace"))[0] == 202


async def test_a_message_of_use_chat_cancels_no_answer_without_the_scope(api: RunningApi) -> None:
    body = {"id": "c", "messages": [{"role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
    assert (await submit(api, ADA))[0] == 202
    refused = await api.client.post("/api/chat", json=body, headers=SUBMITS)
    assert refused.status_code == 409


@pytest.mark.parametrize("field", ["models", "fallbacks"])
async def test_a_gateway_is_not_asked_for_further_models(api: RunningApi, field: str) -> None:
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], field: ["big"]}
    answer = await api.client.post("/v1/chat/completions", json=body, headers=SMALL)
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, field)


def test_the_ticket_of_a_conversation_whose_id_ends_with_stream_reads_no_other_stream() -> None:
    only = Only("conversation", "victim/stream")
    assert not only.allows("GET", "/conversations/victim/stream")
    assert only.allows("GET", "/conversations/victim/stream/stream")


@pytest.mark.parametrize("conversation_id", [None, ""])
def test_the_ticket_of_an_empty_id_reaches_nothing(conversation_id: str | None) -> None:
    caller = Caller(tenant="ada", only=Only("conversation", ""))
    with pytest.raises(Problem, match="another object"):
        caller.require_conversation(conversation_id)


async def test_tickets_that_are_revoked_close_no_open_api(redis_url: str) -> None:
    async with running_api(redis_url, timing=FAST) as api:
        before = await api.services.access.version()
        revoked = await api.client.post("/conversations/c/tickets/revoke")
        assert revoked.status_code == 204
        assert await api.services.access.version() > before
        with Redis.from_url(redis_url) as client:
            client.config_resetstat()
            await wait_until(lambda: polls(client) > 2, description="polls of the version")
        assert (await api.client.get("/conversations")).status_code == 200


def polls(client: Redis) -> int:
    commands: Any = client.info("commandstats")
    return int(commands.get("cmdstat_hget", {"calls": 0})["calls"])


async def test_a_tenant_cannot_fill_redis_with_revocations(api: RunningApi) -> None:
    answers = [
        await api.client.post(f"/conversations/{number}/tickets/revoke", headers=ADA)
        for number in range(61)
    ]
    assert [answer.status_code for answer in answers] == [204] * 60 + [429]
    assert answers[-1].headers["retry-after"] == "60"


async def test_the_user_of_a_header_is_the_user_of_a_token_with_that_name(api: RunningApi) -> None:
    principal = Caller(tenant="ada", user="José").principal
    answer = await api.client.post("/chat", json={"message": "hi"}, headers=acting("José".encode()))
    stored = await api.services.requests.get(answer.json()["request_id"], principal)
    assert stored.tenant == principal
    refused = await api.client.get("/conversations", headers=acting(b"no UTF-8: \xff"))
    assert refused.status_code == 400


def acting(user: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", ADA["Authorization"].encode()), (b"X-Tickertape-User", user)]


def test_a_listed_key_that_may_do_less_has_changed() -> None:
    wide = parse_keys("ada:the-key-of-ada-01")
    narrow = parse_keys("ada:the-key-of-ada-01 scopes=list")
    (key_id,) = {caller.key_id for caller in [narrow.find("the-key-of-ada-01")] if caller}
    assert key_id is not None
    assert wide.grants(key_id, "ada", "read", None)
    assert not narrow.grants(key_id, "ada", "read", None)
    assert not wide.grants(key_id, "bob", "read", None)
    digest = hashlib.sha256(b"the-key-of-ada-01").hexdigest()
    assert narrow.has_changed(digest, since=wide)
    assert not narrow.has_changed(digest, since=parse_keys("ada:the-key-of-ada-01 scopes=list"))


def test_a_ticket_keeps_no_model_that_its_key_has_lost() -> None:
    keys = parse_keys("ada:the-key-of-ada-01 models=small+tiny")
    (key_id,) = {caller.key_id for caller in [keys.find("the-key-of-ada-01")] if caller}
    assert key_id is not None
    assert not keys.grants(key_id, "ada", "submit", None)
    assert not keys.grants(key_id, "ada", "submit", ("small", "large"))
    assert keys.grants(key_id, "ada", "submit", ("small",))


def test_tokens_alone_close_a_server() -> None:
    given = {"jwt_jwks_url": "https://issuer/jwks", "jwt_issuer": "i", "jwt_audience": "a"}
    assert Settings.model_validate(given).is_closed
    assert not Settings().is_closed
