"""Pure: the tool parts of the AI SDK's messages, as calls and outcomes of chat messages."""

import msgspec

from tickertape.api.protocols.provider_fields import fields_of_call, from_metadata
from tickertape.broker.provider_fields import tool_of_call
from tickertape.runtime.json_types import JsonObject

_DENIED = "The user did not allow this call."


def call_of(part: JsonObject) -> JsonObject:
    """The call of a tool part."""
    kind = str(part["type"])
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    # A call that failed has its input in `rawInput`, and `input` may be null.
    inputs: list[object] = [part.get("input"), part.get("rawInput"), {}]
    arguments = next(value for value in inputs if value is not None)
    fields = from_metadata(part.get("callProviderMetadata"))
    call_kind = "custom" if fields.get("type") == "custom" else "function"
    call = {"id": str(part.get("toolCallId", "")), "type": call_kind}
    return call | tool_of_call(call_kind, fields_of_call(fields), str(name), _as_text(arguments))


def outcome_of(part: JsonObject) -> JsonObject | None:
    """The message with the outcome of a tool part; None if it has none, or is another part."""
    if not str(part.get("type", "")).startswith(("tool-", "dynamic-tool")):
        return None
    match part.get("state"):
        case "output-available":
            content = _as_text(part.get("output"))
        case "output-error":
            content = str(part.get("errorText") or "The tool failed.")
        case "output-denied":
            content = _denial(part)
        case "approval-responded" if _approval(part).get("approved") is False:
            content = _denial(part)
        case _:
            return None
    return {"role": "tool", "tool_call_id": str(part.get("toolCallId", "")), "content": content}


def _approval(part: JsonObject) -> JsonObject:
    approval = part.get("approval")
    return approval if isinstance(approval, dict) else {}


def _denial(part: JsonObject) -> str:
    reason = _approval(part).get("reason")
    return f"{_DENIED} Reason: {reason}" if isinstance(reason, str) and reason else _DENIED


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
