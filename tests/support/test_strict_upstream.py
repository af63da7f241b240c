"""The strict upstream's table: each family's refusals, and the requests that it accepts."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.script import payload_of
from tests.support.strict_rules import FAMILIES, RULES, Rule, breached
from tests.support.strict_upstream import CALLED, SIGNATURE, THOUGHT, first_answer, refusal

Body = dict[str, Any]
_PARAMETERS = {"type": "object", "properties": {}}


def follow_up(family: str) -> Body:
    """The second request of a tool loop, in the form that a family accepts."""
    ids = ("aB3xK9mP2", "Zq81LmNo0")
    calls: list[Body] = [
        {"id": call_id, "type": "function", "function": {"name": "add", "arguments": json.dumps(a)}}
        for call_id, a in zip(ids, CALLED, strict=True)
    ]
    answer_message: Body = {"role": "assistant", "content": None, "tool_calls": calls}
    if family in {"deepseek", "kimi"}:
        answer_message["reasoning_content"] = THOUGHT
    if family == "gemini":
        calls[0]["extra_content"] = {"google": {"thought_signature": SIGNATURE}}
    return {
        "model": "m",
        "stream": True,
        "messages": [
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": "Add."},
            answer_message,
            {"role": "tool", "tool_call_id": ids[0], "content": "5"},
            {"role": "tool", "tool_call_id": ids[1], "content": "30"},
        ],
        "tools": [{"type": "function", "function": {"name": "add", "parameters": _PARAMETERS}}],
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_accepts_a_tool_loop_in_its_form(family: str) -> None:
    assert breached(family, follow_up(family)) == []


def _said(body: Body) -> Body:
    return next(message for message in body["messages"] if message["role"] == "assistant")


def _split(body: Body) -> None:
    """A call without its text, and the text without its call: CLIProxyAPI#3152."""
    body["messages"].insert(3, {"role": "assistant", "content": "Adding."})


# A request that breaks each rule, for a family with that rule.
_BREAKS: dict[str, tuple[str, Callable[[Body], object]]] = {
    "each call is answered right behind its message": ("openai", _split),
    "each tool message answers a call of the assistant message before it": (
        "openai",
        lambda body: body["messages"][-1].update(tool_call_id="another"),
    ),
    "the ids of parallel calls differ": (
        "ollama",
        lambda body: [call.update(id="one") for call in _said(body)["tool_calls"]],
    ),
    "a call's arguments are a JSON object": (
        "ollama",
        lambda body: _said(body)["tool_calls"][0]["function"].update(arguments='{"a":2}{"a":10}'),
    ),
    "only tools that are offered were called": (
        "ollama",
        lambda body: _said(body)["tool_calls"][0]["function"].update(name="addadd"),
    ),
    "images stand in user messages only": (
        "openai",
        lambda body: body["messages"][-1].update(content=[{"type": "image_url"}]),
    ),
    "OpenAI's newer models take no max_tokens": ("openai", lambda body: body.update(max_tokens=1)),
    "OpenAI knows the request's fields": ("openai", lambda body: body.update(top_k=1)),
    "only OpenAI knows the role developer": (
        "deepseek",
        lambda body: body["messages"][0].update(role="developer"),
    ),
    "no assistant message is empty": (
        "kimi",
        lambda body: body["messages"].insert(2, {"role": "assistant", "content": ""}),
    ),
    "Mistral's call ids are nine letters and digits": (
        "mistral",
        lambda body: _said(body)["tool_calls"][0].update(id="call_1"),
    ),
    "Mistral answers a user or a tool": (
        "mistral",
        lambda body: body["messages"].append({"role": "assistant", "content": "They"}),
    ),
    "Mistral wants an answer between a tool and a question": (
        "mistral",
        lambda body: body["messages"].append({"role": "user", "content": "And?"}),
    ),
    "Mistral has no stream_options": ("mistral", lambda body: body.update(stream_options={})),
    "Mistral knows the request's fields": (
        "mistral",
        lambda body: body.update(max_completion_tokens=1),
    ),
    "Mistral knows the fields of messages and calls": (
        "mistral",
        lambda body: _said(body).update(reasoning_content="Hm."),
    ),
    "reasoning goes back with the calls that it led to": (
        "deepseek",
        lambda body: _said(body).pop("reasoning_content"),
    ),
    "each message has a content, if only null": (
        "deepseek",
        lambda body: _said(body).pop("content"),
    ),
    "Gemini's thought signature goes back with its call": (
        "gemini",
        lambda body: _said(body)["tool_calls"][0].pop("extra_content"),
    ),
    "Gemini knows the request's fields": ("gemini", lambda body: body.update(store=False)),
    "no field of the Responses API is passed on": (
        "ollama",
        lambda body: body.update(client_metadata={}),
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_broken_rule_is_refused_in_the_familys_words(rule: Rule) -> None:
    family, break_it = _BREAKS[rule.name]
    body = copy.deepcopy(follow_up(family))
    break_it(body)
    assert rule in breached(family, body)
    assert rule.source
    answer_message = json.dumps(refusal(family, rule, body).body)
    assert rule.name in answer_message or "extra_forbidden" in answer_message


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_streams_two_whole_calls(family: str) -> None:
    pieces = [
        call
        for step in first_answer(family)
        if (payload := payload_of(step, "m")) is not None
        for choice in payload["choices"]
        for call in choice["delta"].get("tool_calls") or []
    ]
    assert "".join(piece["function"]["arguments"] for piece in pieces).count('"a":') == 2
    assert len({piece["id"] for piece in pieces if "id" in piece}) == 2
    assert {piece["index"] for piece in pieces} == (
        {0} if family in {"gemini", "ollama"} else {0, 1}
    )
