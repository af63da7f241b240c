"""Pure: the body of the AI SDK's `useChat`, and its conversion to chat messages.

The browser keeps the history and sends all of it with each call. Each version of the SDK adds types
of parts. The conversion omits every part that no model uses.
"""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.ai_sdk.tool_parts import call_of, outcome_of
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.checked import Checked, Item, Items, Name, field_error, known_fields
from tickertape.api.protocols.file_parts import NoFormError, file_part
from tickertape.api.protocols.provider_fields import fields_of_parts
from tickertape.runtime.json_types import JsonObject

_MAX_CHAT_ID_CHARS = 512
_FILE_LEFT_OUT = "[A file was left out here: this model does not take it.]"
# Parameters that an app may add to the body of its calls.
_PARAMS = ("model", "temperature", "top_p", "max_tokens", "tools", "tool_choice")

_STEERING = "steering-message"  # what a user added while the answer was written
_KINDS_FOR_MODELS = frozenset({"text", "file", "reasoning", _STEERING})
_TOOL_KINDS = ("tool-", "dynamic-tool")
_STATES_WITHOUT_OUTCOME = frozenset({"input-streaming", "input-available", "approval-requested"})


def _check_path_segment(chat_id: str) -> str:
    # Clients and proxies resolve these in a path, so the chat could not be resumed or stopped.
    if chat_id in {".", ".."}:
        raise ValueError("use another id than . and ..")
    return chat_id


ChatId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=_MAX_CHAT_ID_CHARS),
    AfterValidator(_check_path_segment),
]


class UiMessage(Item, BaseModel):
    """A message as the page keeps it."""

    model_config = ConfigDict(extra="ignore")

    id: str | None = None
    role: Literal["system", "user", "assistant"]
    parts: Items[JsonObject] = []


class UiBody(Checked):
    """A call of `useChat`, with the whole history, or with the new message as `message`."""

    model_config = ConfigDict(
        extra="ignore",
        json_schema_extra={
            "examples": [
                {
                    "id": "demo",
                    "messages": [
                        {
                            "id": "m1",
                            "role": "user",
                            "parts": [{"type": "text", "text": "Why is the sky blue?"}],
                        }
                    ],
                }
            ]
        },
    )

    id: ChatId
    messages: Annotated[Items[UiMessage], Field(min_length=1)] | None = None
    message: UiMessage | None = None
    trigger: str | None = None
    messageId: str | None = None  # noqa: N815  # the client's spelling
    role: Annotated[Name | None, Field(description="A role of `GET /roles`")] = None
    model: Name | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    tools: Items[JsonObject] | None = None
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
    def _has_messages(self) -> "UiBody":
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
        """Whether the page requests another answer to the same messages."""
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
        sent = {name: getattr(self, name) for name in _PARAMS}
        return {name: value for name, value in sent.items() if value is not None}

    def chat_messages(self) -> list[JsonObject]:
        """The messages for the model; raises Problem if no message has content."""
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
    """The messages in OpenAI's form.

    Raises Problem if the last message has a file that no model accepts. In earlier messages, a note
    replaces such a file, because the page sends its whole history with each call.
    """
    converted: list[JsonObject] = []
    for number, message in enumerate(messages):
        match message.role:
            case "assistant":
                converted += _assistant(message.parts)
            case "user":
                is_new = number == len(messages) - 1
                path = param if param == "message" else f"{param}[{number}]"
                content = _user_content(message.parts, path if is_new else None)
                converted += [{"role": "user", "content": content}] if content else []
            case "system":
                text = _text(message.parts)
                converted += [{"role": "system", "content": text}] if text else []
    return in_chat_order(converted)


def _objects(items: object) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _for_models(part: object) -> object:
    """The part, or only its provider fields if no model sees the part."""
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


def _user_content(parts: list[JsonObject], path: str | None) -> str | list[JsonObject]:
    content: list[JsonObject] = []
    for number, part in enumerate(parts):
        if _has_text(part) and part["text"]:
            content.append({"type": "text", "text": part["text"]})
        elif part.get("type") == "file":
            content.append(_file(part, path and f"{path}.parts[{number}]"))
    if any(part.get("type") == "file" for part in parts):
        return content
    return _text(parts)


def _file(part: JsonObject, param: str | None) -> JsonObject:
    """A file as a part of a chat message.

    A file that no model accepts raises Problem if `param` names it, and is a note otherwise.
    """
    try:
        return file_part(*(part.get(name) for name in ("url", "mediaType", "filename")))
    except NoFormError as error:
        if param is None:
            return {"type": "text", "text": _FILE_LEFT_OUT}
        raise Problem(400, "unsupported_value", f"{param}: {error}", param=param) from None


def _assistant(parts: list[JsonObject]) -> list[JsonObject]:
    messages: list[JsonObject] = []
    step: list[JsonObject] = []
    has_results = False
    for part in parts:
        kind = part.get("type")
        is_break = kind in {"step-start", _STEERING}
        # What stands behind the results of tools that the server ran was written after them.
        if is_break or (has_results and kind in {"text", "reasoning"}):
            messages += _step(step)
            step, has_results = [], False
        if not is_break:
            step.append(part)
            has_results |= part.get("providerExecuted") is True and outcome_of(part) is not None
        elif content := _user_content(_objects(part.get("parts")), None):
            messages.append({"role": "user", "content": content})
    return messages + _step(step)


def _step(parts: list[JsonObject]) -> list[JsonObject]:
    """The message of one step with its text and tool calls, and the outputs of the tools.

    A call without an outcome is omitted, because upstreams refuse a call without an output.
    """
    text = _text(parts)
    outcomes = [(part, outcome) for part in parts if (outcome := outcome_of(part)) is not None]
    if not text and not outcomes:
        return []
    message: JsonObject = {**fields_of_parts(parts), "role": "assistant", "content": text or None}
    if reasoning := _text(parts, "reasoning"):
        message["reasoning_content"] = reasoning
    if outcomes:
        message["tool_calls"] = [call_of(part) for part, _ in outcomes]
    return [message, *(outcome for _, outcome in outcomes)]
