"""Pure: the table of upstream families, and which family an upstream belongs to.

No standard defines how to continue a partial answer. An upstream that does not support the request
starts a new answer after the kept text, so only families that are known to continue are asked to.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Profile:
    """What one family of upstreams supports and accepts.

    To continue a partial answer, `message` and `request` are added to the assistant message and to
    the request. `may_echo`: the stream may begin with the kept text again. `length_limit` is the
    field that limits an answer. `takes_developer`: the role `developer` is accepted.
    `refuses_reasoning`: messages with the reasoning of earlier answers are refused.
    """

    name: str
    can_continue: bool = False
    message: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    may_echo: bool = False
    length_limit: str = "max_tokens"
    takes_developer: bool = False
    refuses_reasoning: bool = False


# `echo` is off by default in both, but a request may have set it.
# https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html
# https://github.com/ggml-org/llama.cpp/pull/23012, https://github.com/ggml-org/llama.cpp/pull/23089
_OPEN_ENDED = {"continue_final_message": True, "add_generation_prompt": False, "echo": False}
_PREFIX = {"prefix": True}

_PROFILES = {
    profile.name: profile
    for profile in (
        Profile("vllm", can_continue=True, request=_OPEN_ENDED),
        Profile("llama.cpp", can_continue=True, request=_OPEN_ENDED),
        # https://api-docs.deepseek.com/guides/chat_prefix_completion
        Profile("deepseek", can_continue=True, message=_PREFIX),
        # The echo: https://github.com/vercel/ai/pull/3256
        # Its refusal of reasoning: https://github.com/BerriAI/litellm/issues/30835
        Profile(
            "mistral", can_continue=True, message=_PREFIX, may_echo=True, refuses_reasoning=True
        ),
        # https://ai.google.dev/gemini-api/docs/openai
        Profile("gemini", refuses_reasoning=True),
        # Its newer models refuse max_tokens; some other servers accept nothing else.
        # https://github.com/ollama/ollama/issues/7125
        Profile(
            "openai",
            length_limit="max_completion_tokens",
            takes_developer=True,
            refuses_reasoning=True,
        ),
        Profile("anthropic"),
        Profile("other"),
    )
}
PROFILE_NAMES = tuple(_PROFILES)

_BY_HOST = {
    "api.mistral.ai": "mistral",
    "api.openai.com": "openai",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "gemini",
}
# OpenAI's regions, and Azure, where each customer has a host, and OpenAI's names are accepted.
# https://platform.openai.com/docs/guides/your-data, litellm#13432
_BY_DOMAIN = {
    ".api.openai.com": "openai",
    ".openai.azure.com": "openai",
    ".openai.azure.us": "openai",
    ".openai.azure.cn": "openai",
    ".cognitiveservices.azure.com": "openai",
}
# This host has models of many makers, and OpenAI's API only under one path.
_AZURE_FOUNDRY = ".services.ai.azure.com"
_BY_OWNER = {"vllm": "vllm", "llamacpp": "llama.cpp"}


def profile_for(name: str | None, base_url: str, owners: Iterable[str] = ()) -> Profile:
    """The profile with the name of a setting; without one, the profile found by address or owner.

    `owners` are the `owned_by` values of the upstream's model list, where self-hosted servers put
    their name. DeepSeek continues only under its beta address. Raises ValueError for a name that is
    not in PROFILE_NAMES.
    """
    if name:
        if name not in _PROFILES:
            raise ValueError(
                f"unknown upstream profile {name!r}: use one of {', '.join(_PROFILES)}"
            )
        return _PROFILES[name]
    address = urlsplit(base_url)
    if address.hostname == "api.deepseek.com":
        return _PROFILES["deepseek" if address.path.startswith("/beta") else "other"]
    if (name := _name_by_host(address.hostname or "", address.path)) is not None:
        return _PROFILES[name]
    known = {_BY_OWNER.get(owner, "other") for owner in owners}
    return _PROFILES[known.pop() if len(known) == 1 else "other"]


def _name_by_host(host: str, path: str) -> str | None:
    if host in _BY_HOST:
        return _BY_HOST[host]
    if host.endswith(_AZURE_FOUNDRY) and path.startswith("/openai"):
        return "openai"
    return next((name for domain, name in _BY_DOMAIN.items() if host.endswith(domain)), None)
