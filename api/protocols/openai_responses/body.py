"""The body of OpenAI's Responses, and its conversion to a chat completion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import ConfigDict, Discriminator, Field, Tag

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.checked import Checked, Items, Metadata, Name, shape_of
from tickertape.api.protocols.openai import OpenBody, role_of, unsupported, without_role
from tickertape.api.protocols.openai_responses.input_items import chat_messages, input_items
from tickertape.runtime.json_types import JsonObject

M = TypeVar("M")

_LOGPROBS = "message.output_text.logprobs"
_UNSUPPORTED = {
    "conversation": "use previous_response_id",
    "prompt": "send the input itself",
    "messages": "use input",
    "n": "a response has one answer",
    "functions": "use tools",
}
# Fields of the Responses API that are ignored, because chat upstreams refuse unknown fields.
_IGNORED = frozenset(
    {
        "access_programs",
        "background_options",
        "client_metadata",
        "context_management",
        "image",
        "max_tool_calls",
        "stream_options",
    }
)
# Clients send these fields by default. OpenAI accepts them, other upstreams refuse them.
_OPENAI_ONLY = frozenset(
    {
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    }
)
# Fields of a function tool that chat completions do not have.
_NOT_IN_CHAT_TOOLS = frozenset(
    {"type", "allowed_callers", "async", "defer_loading", "output_schema"}
)


@dataclass(frozen=True)
class Echoed:
    """Marks a field that the response repeats. If the caller omits it, the value is `default`."""

    default: object


@dataclass(frozen=True)
class Forwarded:
    """Marks a field that is sent to the upstream unchanged, under the name `param`."""

    param: str


# A new field needs one line here. `Echoed` adds it to the response, `Forwarded` to the call of the
# upstream. `params` converts the fields that the upstream gets in another form.
class ResponsesBody(Checked, OpenBody):
    """OpenAI's request for a response."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"input": "Why is the sky blue?", "max_output_tokens": 100}]
        }
    )

    input: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[Items[JsonObject], Field(min_length=1), Tag("parts")],
        Field(description="Text, or a list of messages, function calls and their outputs"),
        Discriminator(shape_of),
    ]
    model: Annotated[
        Name | None,
        Field(description="`role:<name>` selects a role of `GET /roles`"),
        Forwarded("model"),
    ] = None
    instructions: Annotated[str | None, Echoed(None)] = None
    previous_response_id: Annotated[Name | None, Echoed(None)] = None
    background: Annotated[bool | None, Echoed(default=False)] = None
    stream: bool | None = None
    store: Annotated[bool | None, Echoed(default=True)] = None
    metadata: Annotated[Metadata | None, Echoed({})] = None
    temperature: Annotated[float | None, Forwarded("temperature"), Echoed(None)] = None
    top_p: Annotated[float | None, Forwarded("top_p"), Echoed(None)] = None
    max_output_tokens: Annotated[
        Annotated[int, Field(ge=1)] | None, Forwarded("max_tokens"), Echoed(None)
    ] = None
    tools: Annotated[Items[JsonObject] | None, Echoed([])] = None
    tool_choice: Annotated[str | JsonObject | None, Echoed("auto")] = None
    parallel_tool_calls: Annotated[bool | None, Echoed(default=True)] = None
    text: Annotated[JsonObject | None, Echoed({"format": {"type": "text"}})] = None
    reasoning: Annotated[JsonObject | None, Echoed({})] = None
    include: Items[str] | None = None
    top_logprobs: Annotated[int | None, Forwarded("top_logprobs")] = None
    truncation: Annotated[str | None, Echoed("disabled")] = None
    role_template: Annotated[Name | None, Field(description="A role of `GET /roles`")] = None

    def check(self) -> None:
        """Refuse fields that are not supported; raises Problem."""
        for name, instead in _UNSUPPORTED.items():
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name, f"{name} is not supported here: {instead}.")
        if self.background and self.store is False:
            raise Problem(
                400, "invalid_value", "store: a background response is stored", param="store"
            )
        if self.truncation not in (None, "disabled"):
            raise unsupported("truncation", "truncation: only disabled is supported.")

    def items(self) -> list[JsonObject]:
        """The input as items."""
        return input_items(self.input)

    def chat_messages(self, context: list[JsonObject]) -> list[JsonObject]:
        """The messages for the upstream, after those of earlier responses; raises Problem."""
        instructions = self.instructions
        opening = [{"role": "system", "content": instructions}] if instructions else []
        messages = chat_messages(self.items())
        if not messages:
            raise Problem(400, "invalid_value", "input: there is nothing to answer", param="input")
        return [*opening, *in_chat_order([*context, *messages])]

    def role(self) -> str | None:
        """The role, which callers name by `role_template` or as a model."""
        return self.role_template or role_of(self.model)

    def echoed(self) -> JsonObject:
        """The fields that the response repeats, by name."""
        defaults = {name: echoed.default for name, echoed in _marked(Echoed)}
        sent = {name: getattr(self, name) for name in sorted(defaults)}
        return {name: defaults[name] if sent[name] is None else sent[name] for name in sent}

    def params(self) -> JsonObject:
        """The upstream's parameters beside the messages; raises Problem."""
        wants_logprobs = bool(self.top_logprobs) or _LOGPROBS in (self.include or [])
        mapped = {
            **{to.param: getattr(self, name) for name, to in _marked(Forwarded)},
            "tools": [_tool(tool, number) for number, tool in enumerate(self.tools or [])] or None,
            "parallel_tool_calls": self.parallel_tool_calls if self.tools else None,
            "tool_choice": _tool_choice(self.tool_choice) if self.tools else None,
            "response_format": _response_format((self.text or {}).get("format")),
            "verbosity": (self.text or {}).get("verbosity"),
            "reasoning_effort": (self.reasoning or {}).get("effort"),
            "logprobs": wants_logprobs or None,
        }
        extra = {
            name: value
            for name, value in (self.model_extra or {}).items()
            if name not in _IGNORED | _OPENAI_ONLY
        }
        params = {name: value for name, value in (extra | mapped).items() if value is not None}
        return without_role(params)

    def openai_params(self) -> JsonObject:
        """Parameters for OpenAI only."""
        extra = self.model_extra or {}
        return {name: extra[name] for name in _OPENAI_ONLY & extra.keys() if extra[name]}


def _marked(marker: type[M]) -> Iterator[tuple[str, M]]:
    """Yield each field of the body that has such a marker, with the marker."""
    for name, field in ResponsesBody.model_fields.items():
        for item in field.metadata:
            if isinstance(item, marker):
                yield name, item


def _tool(tool: JsonObject, number: int) -> JsonObject:
    param = f"tools[{number}]"
    if "function" in tool:
        raise _nested(f"{param}.function")
    if tool.get("type") != "function":
        param = f"{param}.type"
        raise unsupported(param, f"{param}: only tools of type function are supported.")
    if not isinstance(tool.get("name"), str):
        param = f"{param}.name"
        raise Problem(400, "invalid_value", f"{param}: text is required", param=param)
    function = {
        key: value
        for key, value in tool.items()
        if key not in _NOT_IN_CHAT_TOOLS and value is not None
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: str | JsonObject | None) -> str | JsonObject | None:
    if choice is None or isinstance(choice, str):
        return choice
    if choice.get("type") != "function":
        raise unsupported(
            "tool_choice", "tool_choice: use none, auto or required, or name a function."
        )
    if "function" in choice:
        raise _nested("tool_choice.function")
    return {"type": "function", "function": {"name": choice.get("name")}}


def _nested(param: str) -> Problem:
    message = "this is the form of chat completions; put its content beside type."
    return unsupported(param, f"{param}: {message}")


def _response_format(form: object) -> JsonObject | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "json_schema": _}:
            raise _nested("text.format.json_schema")
        case {"type": "json_schema", **schema}:
            return {"type": "json_schema", "json_schema": schema}
    raise unsupported("text.format", "text.format: use text, json_object or json_schema.")
