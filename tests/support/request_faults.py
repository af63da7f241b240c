"""The faults of chat completion requests, for tests/support/strict_rules.py. Pure."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Body = dict[str, Any]


def messages_of(role: str, body: Body) -> list[Body]:
    return [message for message in body["messages"] if message["role"] == role]


def calls(body: Body) -> Iterator[Body]:
    for message in messages_of("assistant", body):
        yield from message.get("tool_calls") or []


def leaves_a_call_unanswered(body: Body) -> bool:
    waiting: set[str] = set()
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.discard(message.get("tool_call_id"))
        elif waiting:
            return True
        else:
            waiting = {call.get("id") for call in message.get("tool_calls") or []}
    return bool(waiting)


def answers_no_call(body: Body) -> bool:
    open_calls: set[str] = set()
    for message in body["messages"]:
        if message["role"] != "tool":
            open_calls = {call.get("id") for call in message.get("tool_calls") or []}
        elif message.get("tool_call_id") not in open_calls:
            return True
        else:
            open_calls.remove(message["tool_call_id"])
    return False


def asks_right_behind_a_tool(body: Body) -> bool:
    return ("tool", "user") in pairwise(message["role"] for message in body["messages"])


def repeats_a_call_id(body: Body) -> bool:
    return any(
        len({call.get("id") for call in calls}) < len(calls)
        for message in messages_of("assistant", body)
        if (calls := message.get("tool_calls") or [])
    )


def has_a_call_without_json_object(body: Body) -> bool:
    def is_object(text: Any) -> bool:
        try:
            return isinstance(json.loads(text), dict)
        except (TypeError, ValueError):
            return False

    return not all(is_object(call["function"].get("arguments")) for call in calls(body))


def calls_what_is_not_offered(body: Body) -> bool:
    offered = {tool["function"]["name"] for tool in body.get("tools") or []}
    return bool(offered) and not all(call["function"]["name"] in offered for call in calls(body))


def shows_an_image_in_a_tool_message(body: Body) -> bool:
    return any(
        part.get("type") != "text"
        for message in messages_of("tool", body)
        if isinstance(message.get("content"), list)
        for part in message["content"]
    )


def has_an_empty_assistant_message(body: Body) -> bool:
    return any(
        not message.get("content") and not message.get("tool_calls")
        for message in messages_of("assistant", body)
    )


def lacks_content(body: Body) -> bool:
    return any("content" not in message for message in body["messages"])


def ends_with_an_answer(body: Body) -> bool:
    last = body["messages"][-1]
    return last["role"] not in {"user", "tool"} and not last.get("prefix")


def lacks_reasoning(body: Body) -> bool:
    # After tool calls, every answer needs reasoning. Only some families accept an empty text.
    return bool([*calls(body)]) and not all(
        message.get("reasoning_content") for message in messages_of("assistant", body)
    )


def lacks_a_thought_signature(body: Body) -> bool:
    # Of parallel calls only the first carries one.
    def signature(call: Body) -> Any:
        return ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")

    return any(
        message.get("tool_calls") and not signature(message["tool_calls"][0])
        for message in messages_of("assistant", body)
    )


def mistral_extras(body: Body) -> list[list[Any]]:
    """The paths of fields that Mistral's schema lacks, as its refusal names them."""
    found: list[list[Any]] = [["body", name] for name in body if name not in _MISTRAL_FIELDS]
    for number, message in enumerate(body["messages"]):
        role = message["role"]
        known = _MISTRAL_MESSAGE_FIELDS.get(role, frozenset(message))
        place = ["body", "messages", number, role]
        found += [[*place, name] for name in message if name not in known]
        for index, call in enumerate(message.get("tool_calls") or []):
            place_of_call = [*place, "tool_calls", index]
            found += [[*place_of_call, name] for name in call if name not in _CALL_FIELDS]
            found += [
                [*place_of_call, "function", name]
                for name in call["function"]
                if name not in _FUNCTION_FIELDS
            ]
    return found


def _fields(names: str) -> frozenset[str]:
    return frozenset(names.split())


_COMMON = _fields(
    "model messages stream temperature top_p n stop tools tool_choice parallel_tool_calls "
    "response_format frequency_penalty presence_penalty reasoning_effort metadata"
)
OPENAI_FIELDS = _COMMON | _fields(
    "max_completion_tokens max_tokens stream_options seed user logprobs top_logprobs logit_bias "
    "modalities audio prediction store service_tier verbosity web_search_options prompt_cache_key "
    "prompt_cache_retention safety_identifier functions function_call"
)
_MISTRAL_FIELDS = _COMMON | _fields("max_tokens random_seed prediction prompt_mode safe_prompt")
GEMINI_REFUSES = _fields("store metadata frequency_penalty reasoning top_k extra_headers")
_MISTRAL_MESSAGE_FIELDS = {
    "system": frozenset({"role", "content"}),
    "user": frozenset({"role", "content"}),
    "assistant": frozenset({"role", "content", "tool_calls", "prefix"}),
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
RESPONSES_FIELDS = _fields(
    "input instructions include previous_response_id client_metadata context_management truncation "
    "max_output_tokens background conversation prompt text reasoning max_tool_calls"
)
_CALL_FIELDS = _fields("id type function index")
_FUNCTION_FIELDS = _fields("name arguments")
NINE = re.compile(r"[a-zA-Z0-9]{9}")
