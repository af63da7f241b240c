"""What real upstreams refuse: one rule a row, with the families that have it and its source.

Pure. `breached` names the rules that a chat completion request breaks for a family. A family is a
group of upstreams that refuse the same things; Ollama, vLLM and llama.cpp are the lenient ones.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
LEARNED = "Mistral has no stream_options"
"""The one refusal that is expected: a worker asks once, and then goes on without."""
FAMILIES = ("openai", "mistral", "deepseek", "kimi", "gemini", "ollama")


@dataclass(frozen=True)
class Rule:
    """`is_broken` says whether a request body breaks the rule."""

    name: str
    families: frozenset[str]
    source: str
    is_broken: Callable[[Body], bool]


def breached(family: str, body: Body) -> list[str]:
    """The names of this family's rules that `body` breaks, in the order of the table."""
    return [rule.name for rule in RULES if family in rule.families and rule.is_broken(body)]


def _of(role: str, body: Body) -> list[Body]:
    return [message for message in body["messages"] if message["role"] == role]


def _calls(body: Body) -> Iterator[Body]:
    for message in _of("assistant", body):
        yield from message.get("tool_calls") or []


def _leaves_a_call_unanswered(body: Body) -> bool:
    waiting: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.discard(message.get("tool_call_id"))
        elif waiting:
            return True
        else:
            waiting = {call.get("id") for call in message.get("tool_calls") or []}
    return bool(waiting)


def _answers_no_call(body: Body) -> bool:
    open_calls: set[str] = set()
    for message in body["messages"]:
        if message["role"] != "tool":
            open_calls = {call.get("id") for call in message.get("tool_calls") or []}
        elif message.get("tool_call_id") not in open_calls:
            return True
        else:
            open_calls.remove(message["tool_call_id"])
    return False


def _repeats_a_call_id(body: Body) -> bool:
    return any(
        len({call.get("id") for call in calls}) < len(calls)
        for message in _of("assistant", body)
        if (calls := message.get("tool_calls") or [])
    )


def _has_a_call_without_json_object(body: Body) -> bool:
    def is_object(text: Any) -> bool:
        try:
            return isinstance(json.loads(text), dict)
        except (TypeError, ValueError):
            return False

    return not all(is_object(call["function"].get("arguments")) for call in _calls(body))


def _calls_what_is_not_offered(body: Body) -> bool:
    offered = {tool["function"]["name"] for tool in body.get("tools") or []}
    return bool(offered) and not all(call["function"]["name"] in offered for call in _calls(body))


def _shows_an_image_in_a_tool_message(body: Body) -> bool:
    return any(
        part.get("type") != "text"
        for message in _of("tool", body)
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _has_an_empty_assistant_message(body: Body) -> bool:
    return any(
        not message.get("content") and not message.get("tool_calls")
        for message in _of("assistant", body)
    )


def _lacks_content(body: Body) -> bool:
    return any("content" not in message for message in body["messages"])


def _ends_with_an_answer(body: Body) -> bool:
    last = body["messages"][-1]
    return last["role"] not in {"user", "tool"} and not last.get("prefix")


def _lacks_reasoning(body: Body) -> bool:
    return any(
        message.get("tool_calls") and not isinstance(message.get("reasoning_content"), str)
        for message in _of("assistant", body)
    )


def _lacks_a_thought_signature(body: Body) -> bool:
    # Of parallel calls only the first carries one.
    def signature(call: Body) -> Any:
        return ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")

    return any(
        message.get("tool_calls") and not signature(message["tool_calls"][0])
        for message in _of("assistant", body)
    )


def _has_fields_beside(allowed: frozenset[str]) -> Callable[[Body], bool]:
    return lambda body: not body.keys() <= allowed


def _has_message_fields_beside(allowed: dict[str, frozenset[str]]) -> Callable[[Body], bool]:
    return lambda body: any(
        not message.keys() <= allowed.get(message["role"], frozenset(message))
        for message in body["messages"]
    )


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_COMMON = _fields(
    "model messages stream temperature top_p n stop tools tool_choice parallel_tool_calls "
    "response_format frequency_penalty presence_penalty reasoning_effort metadata"
)
_OPENAI_FIELDS = _COMMON | _fields(
    "max_completion_tokens max_tokens stream_options seed user logprobs top_logprobs logit_bias "
    "modalities audio prediction store service_tier verbosity web_search_options prompt_cache_key "
    "prompt_cache_retention safety_identifier functions function_call"
)
_MISTRAL_FIELDS = _COMMON | _fields(
    "max_tokens random_seed prediction prompt_mode safe_prompt stream_options"
)
_GEMINI_REFUSES = _fields("store metadata frequency_penalty reasoning top_k extra_headers")
_MISTRAL_MESSAGE_FIELDS = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "prefix"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
_RESPONSES_FIELDS = _fields(
    "input instructions include previous_response_id client_metadata context_management truncation "
    "max_output_tokens background conversation prompt text reasoning max_tool_calls"
)
_NINE = re.compile(r"[a-zA-Z0-9]{9}")

_ALL = frozenset(FAMILIES)
RULES = (
    Rule(
        "each call is answered right behind its message",
        _ALL,
        "CLIProxyAPI#3152, dify#32222 (DeepSeek), litellm#28995 (OpenAI)",
        _leaves_a_call_unanswered,
    ),
    Rule(
        "each tool message answers a call of the assistant message before it",
        _ALL,
        "https://platform.openai.com/docs/guides/function-calling, mistral-inference#135",
        _answers_no_call,
    ),
    Rule("the ids of parallel calls differ", _ALL, "ollama#15457", _repeats_a_call_id),
    Rule(
        "a call's arguments are a JSON object",
        _ALL,
        "sglang#28035, litellm#33678, hermes-agent#3468 (Ollama's `invalid tool call arguments`)",
        _has_a_call_without_json_object,
    ),
    Rule(
        "only tools that are offered were called",
        _ALL,
        "hermes-agent#8259: a name that each piece repeats was doubled",
        _calls_what_is_not_offered,
    ),
    Rule(
        "images stand in user messages only",
        _ALL - {"ollama"},
        "sglang#34927, OpenHands#7700",
        _shows_an_image_in_a_tool_message,
    ),
    Rule(
        "OpenAI's newer models take no max_tokens",
        frozenset({"openai"}),
        "litellm#13432, opencode#37964",
        lambda body: "max_tokens" in body,
    ),
    Rule(
        "OpenAI knows the request's fields",
        frozenset({"openai"}),
        "cherry-studio#6155: `Unrecognized request argument supplied`",
        _has_fields_beside(_OPENAI_FIELDS),
    ),
    Rule(
        "only OpenAI knows the role developer",
        frozenset({"deepseek", "mistral", "kimi"}),
        "pi#1048, theia#15144: unknown variant `developer`",
        lambda body: bool(_of("developer", body)),
    ),
    Rule(
        "no assistant message is empty",
        frozenset({"mistral", "kimi"}),
        "OpenHands#8685, LLMKube#935, kimi-code#1985",
        _has_an_empty_assistant_message,
    ),
    Rule(
        "Mistral's call ids are nine letters and digits",
        frozenset({"mistral"}),
        "opencode#1680, pydantic-ai#3733",
        lambda body: not all(_NINE.fullmatch(str(call.get("id"))) for call in _calls(body)),
    ),
    Rule(
        "Mistral answers a user or a tool",
        frozenset({"mistral"}),
        "smolagents#757: `Expected last role User or Tool`",
        _ends_with_an_answer,
    ),
    Rule(
        LEARNED,
        frozenset({"mistral"}),
        "cline#582, anon-kode#53: `extra_forbidden`",
        lambda body: "stream_options" in body,
    ),
    Rule(
        "Mistral knows the request's fields",
        frozenset({"mistral"}),
        "eca#231 (max_completion_tokens), platform-docs-public#7: `extra_forbidden`",
        _has_fields_beside(_MISTRAL_FIELDS),
    ),
    Rule(
        "Mistral knows the fields of each message",
        frozenset({"mistral"}),
        "litellm#30835, crush#1590 (reasoning_content), mistral-go#2 (name): `extra_forbidden`",
        _has_message_fields_beside(_MISTRAL_MESSAGE_FIELDS),
    ),
    Rule(
        "reasoning goes back with the calls that it led to",
        frozenset({"deepseek", "kimi"}),
        "https://api-docs.deepseek.com/guides/thinking_mode, openai-agents-js#791, new-api#3121",
        _lacks_reasoning,
    ),
    Rule(
        "each message has a content, if only null",
        frozenset({"deepseek"}),
        "deepseek4j#41, spring-ai-alibaba#4561: missing field `content`",
        _lacks_content,
    ),
    Rule(
        "Gemini's thought signature goes back with its call",
        frozenset({"gemini"}),
        "https://ai.google.dev/gemini-api/docs/thought-signatures, openai-agents-python#4506",
        _lacks_a_thought_signature,
    ),
    Rule(
        "Gemini knows the request's fields",
        frozenset({"gemini"}),
        "openhanako#394 (store), SkyrimNet-GamePlugin#77: `Unknown name`",
        lambda body: bool(body.keys() & _GEMINI_REFUSES),
    ),
    Rule(
        "no field of the Responses API is passed on",
        _ALL,
        "https://platform.openai.com/docs/api-reference/responses/create",
        lambda body: bool(body.keys() & _RESPONSES_FIELDS),
    ),
)
