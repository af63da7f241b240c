"""What one tenant learns of another's prompts from the upstream's cache: nothing."""

from typing import Any

import pytest

from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import Chunk, Done, Finish, Script, Status, Text, error_body
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings
from tickertape.worker.upstream.cache_isolation import without_cached_counts

KEYS = "ada:key-of-ada-0123456789abcdef,bob:key-of-bob-0123456789abcdef"
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 5,
    "total_tokens": 105,
    "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0},
    "prompt_cache_hit_tokens": 64,
    "prompt_cache_miss_tokens": 36,
    "cache_read_input_tokens": 64,
}
SHOWN = {
    "prompt_tokens": 100,
    "completion_tokens": 5,
    "total_tokens": 105,
    "prompt_tokens_details": {"audio_tokens": 0},
}


def counted() -> Script:
    return [Text("yes"), Finish(), Chunk({"choices": [], "usage": USAGE}), Done()]


def settings_for(upstream: ScriptedUpstream, profile: str) -> Settings:
    return Settings.model_validate(
        {"openai_base_url": upstream.base_url, "upstream_profile": profile, "openai_model": "m"}
    )


async def ask(
    redis_url: str,
    upstream: ScriptedUpstream,
    profile: str,
    *tenants: str | None,
    fields: dict[str, Any] | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """The usage that each tenant in turn reads of its answer; None asks without a key."""
    upstream.script = lambda _: counted()
    api_keys = None if None in tenants else KEYS
    found = []
    async with (
        running_api(redis_url, api_keys=api_keys, **settings) as api,
        working(redis_url, settings_for(upstream, profile)),
    ):
        for tenant in tenants:
            answer = await api.client.post(
                "/v1/chat/completions",
                json={"messages": [{"role": "user", "content": "a guess"}], **(fields or {})},
                headers={"Authorization": f"Bearer key-of-{tenant}-0123456789abcdef"},
            )
            assert answer.status_code == 200, answer.text
            found.append(answer.json()["usage"])
    return found


async def test_tenants_have_caches_of_their_own_where_the_upstream_takes_a_salt(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    found = await ask(redis_url, upstream, "vllm", "ada", "bob", "ada")
    salts = [call.body["cache_salt"] for call in upstream.calls]
    assert salts[0] == salts[2] != salts[1]
    assert found[0]["prompt_tokens_details"]["cached_tokens"] == 64


@pytest.mark.parametrize("profile", ["openai", "deepseek", "llama.cpp", "other"])
async def test_counts_of_a_shared_cache_are_withheld_under_every_name(
    redis_url: str, upstream: ScriptedUpstream, profile: str
) -> None:
    found = await ask(redis_url, upstream, profile, "ada")
    assert "cache" not in str(found)
    assert found[0]["prompt_tokens"] == 100
    assert "cache_salt" not in upstream.calls[0].body
    assert ("prompt_cache_key" in upstream.calls[0].body) == (profile == "openai")


async def test_a_caller_cannot_choose_the_salt_of_another_tenant(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    await ask(redis_url, upstream, "vllm", "ada")
    stolen = upstream.calls[0].body["cache_salt"]
    await ask(redis_url, upstream, "vllm", "bob", fields={"cache_salt": stolen})
    assert stolen not in str(upstream.calls[1].body)


async def test_counts_are_withheld_from_a_vllm_that_refuses_the_salt(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    refusal = error_body("Extra inputs are not permitted: cache_salt", None)
    upstream.enqueue([Status(400, {}, refusal)])
    found = await ask(redis_url, upstream, "vllm", "ada", "bob")
    assert "cache" not in str(found)
    assert ["cache_salt" in call.body for call in upstream.calls] == [True, False, False]


@pytest.mark.parametrize(
    ("tenant", "prompt_cache"), [(None, "tenant"), ("ada", "shared")], ids=["open", "shared"]
)
async def test_callers_that_are_one_tenant_or_share_by_choice_see_the_counts(
    redis_url: str, upstream: ScriptedUpstream, tenant: str | None, prompt_cache: str
) -> None:
    found = await ask(redis_url, upstream, "openai", tenant, prompt_cache=prompt_cache)
    assert found[0]["prompt_tokens_details"]["cached_tokens"] == 64
    assert "prompt_cache_key" not in upstream.calls[0].body


def test_other_counts_stay() -> None:
    assert without_cached_counts(USAGE) == SHOWN
