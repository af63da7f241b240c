from typing import Any, get_args

import pytest

from tickertape.runtime.settings import UpstreamProfile
from tickertape.worker.upstream.continuation import can_be_continued, continue_request
from tickertape.worker.upstream.profiles import PROFILE_NAMES, profile_for

LOCAL = "http://127.0.0.1:8080/v1"
QUESTION = {"role": "user", "content": "Count to ten."}


@pytest.mark.parametrize(
    ("name", "base_url", "owners", "expected"),
    [
        (None, LOCAL, ["vllm"], "vllm"),
        (None, LOCAL, ["vllm", "vllm"], "vllm"),
        (None, LOCAL, ["llamacpp"], "llama.cpp"),
        (None, LOCAL, ["vllm", "llamacpp"], "other"),
        (None, LOCAL, ["vllm", "openai"], "other"),
        (None, LOCAL, ["somebody"], "other"),
        (None, LOCAL, [], "other"),
        (None, "", [], "other"),
        (None, "https://api.mistral.ai/v1", ["mistralai"], "mistral"),
        (None, "https://api.deepseek.com/beta", ["deepseek"], "deepseek"),
        (None, "https://api.deepseek.com/v1", ["deepseek"], "other"),
        (None, "https://api.openai.com/v1", ["system", "openai"], "openai"),
        # litellm#13432
        (None, "https://us.api.openai.com/v1", [], "openai"),
        (None, "https://eu.api.openai.com/v1", ["system"], "openai"),
        (None, "https://me.openai.azure.com/openai/v1/", ["somebody"], "openai"),
        (None, "https://me.openai.azure.com/openai/deployments/gpt-5", [], "openai"),
        (None, "https://me.openai.azure.us/openai/v1", [], "openai"),
        (None, "https://me.openai.azure.cn/openai/v1", [], "openai"),
        (None, "https://ME.cognitiveservices.azure.com/openai/v1", [], "openai"),
        (None, "https://me.services.ai.azure.com/openai/v1", [], "openai"),
        (None, "https://me.services.ai.azure.com/models", [], "other"),
        (None, "https://evilapi.openai.com/v1", [], "other"),
        (None, "https://api.openai.com.evil.example/v1", [], "other"),
        (None, "https://api.anthropic.com/v1/", [], "anthropic"),
        (None, "https://generativelanguage.googleapis.com/v1beta/openai/", [], "gemini"),
        (None, "https://evil.example/api.mistral.ai", [], "other"),
        ("vllm", "https://api.openai.com/v1", ["openai"], "vllm"),
        ("other", LOCAL, ["vllm"], "other"),
    ],
)
def test_a_profile_is_set_or_found_by_address_and_owner(
    name: str | None, base_url: str, owners: list[str], expected: str
) -> None:
    assert profile_for(name, base_url, owners).name == expected


def test_the_setting_names_the_profiles_that_there_are() -> None:
    assert get_args(UpstreamProfile) == PROFILE_NAMES


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'vlm'.*use one of vllm, llama\.cpp"):
        profile_for("vlm", LOCAL)


def test_only_families_known_to_continue_can_continue() -> None:
    able = {name for name in PROFILE_NAMES if profile_for(name, "").can_continue}
    assert able == {"vllm", "llama.cpp", "deepseek", "mistral"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"tools": [], "n": 1, "response_format": {"type": "text"}}, True),
        ({"n": None, "response_format": None}, True),
        ({"tools": [{"type": "function"}]}, False),
        ({"functions": [{"name": "f"}]}, False),
        ({"audio": {"voice": "alloy"}}, False),
        ({"response_format": {"type": "json_object"}}, False),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, False),
        ({"n": 2}, False),
        ({"messages": [QUESTION, {"role": "assistant", "content": "One,"}]}, False),
        ({"messages": []}, True),
    ],
)
def test_only_plain_text_can_be_continued(fields: dict[str, Any], expected: bool) -> None:
    assert can_be_continued({"messages": [QUESTION], **fields}) == expected


OPEN_ENDED = {"continue_final_message": True, "add_generation_prompt": False, "echo": False}


@pytest.mark.parametrize(
    ("name", "message", "request_fields"),
    [
        ("vllm", {}, OPEN_ENDED),
        ("llama.cpp", {}, OPEN_ENDED),
        ("deepseek", {"prefix": True}, {}),
        ("mistral", {"prefix": True}, {}),
    ],
)
def test_a_continuation_has_the_form_of_its_family(
    name: str, message: dict[str, Any], request_fields: dict[str, Any]
) -> None:
    payload = {"model": "m", "messages": [QUESTION], "temperature": 0}
    changed = continue_request(profile_for(name, ""), payload, "One, two,", 4)
    kept = {"role": "assistant", "content": "One, two,"} | message
    assert changed == payload | request_fields | {"messages": [QUESTION, kept]}
    assert payload == {"model": "m", "messages": [QUESTION], "temperature": 0}


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens", "n_predict"])
@pytest.mark.parametrize(
    ("before", "after"),
    # llama.cpp takes -1 for no limit and -2 for what fills the context.
    [(100, 96), (5, 1), (3, 1), (None, None), (-1, -1), (-2, -2), (0, 0), ("100", "100")],
)
def test_kept_deltas_count_against_a_token_limit(limit: str, before: object, after: object) -> None:
    payload = {"messages": [QUESTION], limit: before}
    assert continue_request(profile_for("vllm", ""), payload, "One, two,", 4)[limit] == after
