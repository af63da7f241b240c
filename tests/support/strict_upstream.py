"""An upstream with the streams and the refusals of one family of upstreams.

The first answer calls `add` twice, in parallel, with the family's odd chunks. The request with both
outputs is answered with a text made from them; a request that breaks a rule is refused with the
rule's name.
"""

import json
from collections.abc import Iterable
from typing import Any

from tests.support.request_faults import mistral_extras
from tests.support.script import (
    Chunk,
    Done,
    Finish,
    Reasoning,
    Role,
    Script,
    Status,
    Step,
    Text,
    ToolCall,
    Usage,
    answer,
)
from tests.support.strict_rules import Rule, breached
from tests.support.upstream import Call

QUESTION = "What is 2 + 3, and what is 10 + 20?"
CALLED = [{"a": 2, "b": 3}, {"a": 10, "b": 20}]
ANSWER = "They are 5 and 30."
THOUGHT = "Two sums."
SIGNATURE = "c2lnbmVk"
_ARGUMENTS = [json.dumps(each, separators=(",", ":")) for each in CALLED]
_IDS = {"mistral": ("aB3xK9mP2", "Zq81LmNo0")}


class StrictUpstream:
    """Plays one family: give `script` to a ScriptedUpstream.

    `refusals` names the rules that were refused for, one each time.
    """

    def __init__(self, family: str) -> None:
        self.family = family
        self.refusals: list[str] = []

    def script(self, call: Call) -> Script:
        """The script that answers a request."""
        broken = breached(self.family, call.body)
        if broken:
            self.refusals.append(broken[0].name)
            return [refusal(self.family, broken[0], call.body)]
        outputs = [m["content"] for m in call.body["messages"] if m["role"] == "tool"]
        if not outputs:
            return first_answer(self.family)
        return answer([f"They are {text_of(outputs[0])}", f" and {text_of(outputs[1])}."])


def refusal(family: str, rule: Rule, body: dict[str, Any]) -> Status:
    """A rule's refusal in the family's form, followed by the rule's name."""
    words = f"{rule.words} ({rule.name})"
    if family == "gemini":
        error = {"code": 400, "message": words, "status": "INVALID_ARGUMENT"}
        return Status(400, {}, [{"error": error}])
    kind = {"type": "invalid_request_error", "param": None, "code": None}
    if family != "mistral":
        return Status(400, {}, {"error": {"message": words, **kind}})
    if not (extras := mistral_extras(body)):
        return Status(400, {}, {"object": "error", "message": words, **kind})
    error = {"type": "extra_forbidden", "msg": "Extra inputs are not permitted"}
    detail = [{**error, "loc": at} for at in extras]
    return Status(422, {}, {"object": "error", "message": {"detail": detail}, **kind})


def text_of(output: Any) -> str:
    """A tool's output as text; the AI SDK and others send JSON, and some a list of parts."""
    if isinstance(output, list):
        output = "".join(part.get("text", "") for part in output)
    return str(output).strip('"')


def first_answer(family: str) -> list[Step]:
    """Two parallel calls as this family streams them."""
    scripts = {
        "openai": _openai,
        "mistral": _mistral,
        "deepseek": _deepseek,
        "kimi": _deepseek,
        "gemini": _gemini,
        "ollama": _ollama,
    }
    return [*scripts[family](), Done()]


def _openai() -> Iterable[Step]:
    """Text first, then each call in pieces, at an index of its own."""
    yield Role(None)
    yield Text("Let me ")
    yield Text("add.")
    yield from _in_pieces(("call_one", "call_two"))
    yield Finish("tool_calls")
    yield Usage(20, 10)


def _mistral() -> Iterable[Step]:
    """Both calls whole, in one chunk that is also the end."""
    calls = [
        _whole(call_id, arguments) | {"index": number}
        for number, (call_id, arguments) in enumerate(zip(_IDS["mistral"], _ARGUMENTS, strict=True))
    ]
    yield Chunk(
        {
            "id": "m",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "", "tool_calls": calls},
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": {"prompt_tokens": 20, "completion_tokens": 10, "total_tokens": 30},
        }
    )


def _deepseek() -> Iterable[Step]:
    """Reasoning, then the calls in pieces."""
    yield Role(None)
    yield Reasoning("Two ")
    yield Reasoning("sums.")
    yield from _in_pieces(("call_00_a", "call_01_b"))
    yield Finish("tool_calls")
    yield Usage(20, 10)


def _gemini() -> Iterable[Step]:
    """Each call whole and at index 0, the signature with the first, and `stop` as the reason.

    https://ai.google.dev/gemini-api/docs/thought-signatures, python-genai#2868, litellm#2195
    """
    first, second = (
        _whole(call_id, arguments) | {"index": 0}
        for call_id, arguments in zip(
            ("function-call-1", "function-call-2"), _ARGUMENTS, strict=True
        )
    )
    signed = {"extra_content": {"google": {"thought_signature": SIGNATURE}}}
    yield _delta({"role": "assistant", "tool_calls": [first | signed]})
    yield _delta({"role": "assistant", "tool_calls": [second]})
    yield Finish("stop")
    yield Usage(20, 10)


def _ollama() -> Iterable[Step]:
    """Reasoning under another name, and whole calls that share an index (ollama#15457).

    Gateways add the text after the calls (CLIProxyAPI#3152).
    """
    yield Reasoning("Two sums.", key="reasoning")
    for call_id, arguments in zip(("call_x1", "call_x2"), _ARGUMENTS, strict=True):
        yield ToolCall(arguments, name="add", call_id=call_id, index=0)
    yield Text("Adding.")
    yield Finish("tool_calls")
    yield Usage(20, 10)


def _in_pieces(ids: tuple[str, str]) -> Iterable[Step]:
    for index, (call_id, arguments) in enumerate(zip(ids, _ARGUMENTS, strict=True)):
        yield ToolCall(name="add", call_id=call_id, index=index)
        yield ToolCall(arguments[:5], index=index)
        yield ToolCall(arguments[5:], index=index)


def _whole(call_id: str, arguments: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": "add", "arguments": arguments},
    }


def _delta(delta: dict[str, Any]) -> Chunk:
    return Chunk(
        {
            "id": "g",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
        }
    )
