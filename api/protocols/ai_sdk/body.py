"""Pure: what the AI SDK's `useChat` sends, and its messages as a model takes them.

The browser keeps the history and sends all of it with each call. Parts have many types, and each
version adds more. Parts that no model uses are omitted, whatever their type.
"""

from typing import Annotated, Literal

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.checked import Checked, Name, field_error, known_fields
from tickertape.api.protocols.file_parts import NoFormError, file_part
from tickertape.api.protocols.provider_fields import fields_of_call, fields_of_parts, from_metadata
from tickertape.broker.provider_fields import tool_of_call
from tickertape.runtime.json_types import JsonObject

_MAX_CHAT_ID_CHARS = 512
_DENIED = "The user did not allow this call."
_FILE_LEFT_OUT = "[A file was left out here: this model does not take it.]"
# Parameters that an app may add to the body of its calls.
_PARAMS = ("model", "temperature", "top_p", "max_tokens", "tools", "tool_choice")

_KINDS_FOR_MODELS = frozenset({"text", "file", "reasoning"})
_TOOL_KINDS = ("tool-", "dynamic-tool")
_STATES_WITHOUT_OUTCOME = frozenset({"input-streaming", "input-available", "approval-requested"})


def _stays_in_a_path(chat_id: str) -> str:
    # Steps in a path, to clients and proxies: such a chat could be neither resumed nor stopped.
    if chat_id in {".", ".."}:
        raise ValueError("use another id than . and ..")
    return chat_id


ChatId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_MAX_CHAT_ID_CHARS),
    AfterValidator(_stays_in_a_path),
]


class UiMessage(BaseModel):
    """A message as the page keeps it."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = None
    role: Literal["system", "user", "assistant"]
    parts: list[JsonObject] = []


class UiBody(Checked):
    """A call of `useChat`: the whole history, or only what is new as `message`."""

    model_config = ConfigDict(extra="ignore")

    id: ChatId
    messages: Annotated[list[UiMessage], Field(min_length=1)] | None = None
    message: UiMessage | None = None
    trigger: str | None = None
    messageId: str | None = None  # noqa: N815  # the client's spelling
    role: Annotated[Name | None, Field(description="A role of `GET /roles`")] = None
    model: Name | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tools: list[JsonObject] | None = None
    tool_choice: str | JsonObject | None = None

    @classmethod
    def kept_fields(cls, body: object) -> object:
        """The body without fields and parts that only the page uses."""
        known = known_fields(cls, body, {"messages": UiMessage, "message": UiMessage})
        if isinstance(known, dict):
            for message in [*_objects(known.get("messages")), *_objects([known.get("message")])]:
                parts = message.get("parts")
                if isinstance(parts, list):
                    message["parts"] = list(map(_for_models, parts))
        return known

    @model_validator(mode="after")
    def _asks(self) -> "UiBody":
        if not self.sent_messages and not self.regenerates:
            raise field_error("missing", "messages", "give messages")
        return self

    @property
    def sent_messages(self) -> list[UiMessage]:
        """The messages that were sent."""
        if self.messages is not None:
            return self.messages
        return [self.message] if self.message is not None else []

    @property
    def regenerates(self) -> bool:
        """Whether the page requests another answer to the same question."""
        return self.trigger == "regenerate-message"

    @property
    def holds_history(self) -> bool:
        """Whether the page sent the earlier turns; otherwise the server remembers them."""
        return self.messages is not None

    @property
    def continued_id(self) -> str | None:
        """The id of the answer that this call continues, for example after the output of a tool."""
        last = self.sent_messages[-1] if self.sent_messages else None
        return last.id if last and last.role == "assistant" else None

    def params(self) -> JsonObject:
        """The upstream's parameters beside the messages."""
        given = {name: getattr(self, name) for name in _PARAMS}
        return {name: value for name, value in given.items() if value is not None}

    def chat_messages(self) -> list[JsonObject]:
        """The messages for a model; raises Problem when there are none."""
        messages = chat_messages(
            self.sent_messages, "message" if self.messages is None else "messages"
        )
        if not messages:
            raise Problem(400, "invalid_value", "messages: there is nothing to answer")
        return messages

    def question(self) -> list[JsonObject]:
        """The new messages of this call, for the conversation."""
        last = self.sent_messages[-1]
        return chat_messages([last]) if last.role == "user" else []


def chat_messages(messages: list[UiMessage], param: str = "messages") -> list[JsonObject]:
    """The messages as a model takes them.

    Raises Problem if the last message has a file that no model accepts. In earlier messages such a
    file is omitted, because a page sends its whole history with each call.
    """
    found: list[JsonObject] = []
    for number, message in enumerate(messages):
        match message.role:
            case "assistant":
                found += _assistant(message.parts)
            case "user":
                is_new = number == len(messages) - 1
                place = param if param == "message" else f"{param}[{number}]"
                content = _user_content(message.parts, place if is_new else None)
                found += [{"role": "user", "content": content}] if content else []
            case "system":
                text = _text(message.parts)
                found += [{"role": "system", "content": text}] if text else []
    return in_chat_order(found)


def _objects(items: object) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _for_models(part: object) -> object:
    """What of a part may be passed on: of those that no model sees, the fields of a provider."""
    if not isinstance(part, dict):
        return part
    kind = str(part.get("type", ""))
    if kind.startswith(_TOOL_KINDS):
        is_seen = str(part.get("state")) not in _STATES_WITHOUT_OUTCOME
    else:
        is_seen = kind in _KINDS_FOR_MODELS
    return part if is_seen else {"providerMetadata": part.get("providerMetadata")}


def _text(parts: list[JsonObject], kind: str = "text") -> str:
    return "".join(part["text"] for part in parts if _has_text(part, kind))


def _has_text(part: JsonObject, kind: str = "text") -> bool:
    return part.get("type") == kind and isinstance(part.get("text"), str)


def _user_content(parts: list[JsonObject], place: str | None) -> str | list[JsonObject]:
    content: list[JsonObject] = []
    for number, part in enumerate(parts):
        if _has_text(part) and part["text"]:
            content.append({"type": "text", "text": part["text"]})
        elif part.get("type") == "file":
            content.append(_file(part, place and f"{place}.parts[{number}]"))
    if any(part.get("type") == "file" for part in parts):
        return content
    return _text(parts)


def _file(part: JsonObject, param: str | None) -> JsonObject:
    """A file as a part of a message; where `param` names it, raises Problem for what is none."""
    try:
        return file_part(*(part.get(name) for name in ("url", "mediaType", "filename")))
    except NoFormError as error:
        if param is None:
            return {"type": "text", "text": _FILE_LEFT_OUT}
        raise Problem(400, "unsupported_value", f"{param}: {error}", param=param) from None


def _assistant(parts: list[JsonObject]) -> list[JsonObject]:
    steps: list[list[JsonObject]] = [[]]
    for part in parts:
        if part.get("type") == "step-start":
            steps.append([])
        else:
            steps[-1].append(part)
    return [message for step in steps for message in _step(step)]


def _step(parts: list[JsonObject]) -> list[JsonObject]:
    """What was said and called in one step, and what the tools gave back.

    A call without an outcome is left out, since no model takes one that was not answered.
    """
    text = _text(parts)
    outcomes = [(part, outcome) for part in parts if (outcome := _outcome(part)) is not None]
    if not text and not outcomes:
        return []
    said: JsonObject = {**fields_of_parts(parts), "role": "assistant", "content": text or None}
    if reasoning := _text(parts, "reasoning"):
        said["reasoning_content"] = reasoning
    if outcomes:
        said["tool_calls"] = [_call(part) for part, _ in outcomes]
    return [said, *(outcome for _, outcome in outcomes)]


def _call(part: JsonObject) -> JsonObject:
    kind = str(part["type"])
    name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
    # The input of a call that failed is in `rawInput`, and `input` may stand beside it as null.
    given: list[object] = [part.get("input"), part.get("rawInput"), {}]
    arguments = next(value for value in given if value is not None)
    sent = from_metadata(part.get("callProviderMetadata"))
    called = "custom" if sent.get("type") == "custom" else "function"
    about = {"id": str(part.get("toolCallId", "")), "type": called}
    return about | tool_of_call(called, fields_of_call(sent), str(name), _as_text(arguments))


def _outcome(part: JsonObject) -> JsonObject | None:
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
