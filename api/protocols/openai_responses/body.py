"""What OpenAI's Responses are asked with, in the words of a chat completion."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.chat_order import in_chat_order
from tickertape.api.protocols.checked import Checked, Metadata, Name, shape_of
from tickertape.api.protocols.openai import OpenBody, role_of, unsupported, without_role
from tickertape.api.protocols.openai_responses.input_items import chat_messages, input_items

_LOGPROBS = "message.output_text.logprobs"
# Passed on under their own names, next to whatever fields are not known here.
_SAME_NAMES = ("model", "temperature", "top_p", "top_logprobs")
# Said back in the response, as they were given or with what stands when they were not.
_ECHOED: dict[str, Any] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {},
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
    "truncation": "disabled",
}
_UNSUPPORTED = {
    "conversation": "use previous_response_id",
    "prompt": "send the input itself",
    "messages": "use input",
    "n": "only one answer is given",
    "functions": "use tools",
}
# Words of the Responses alone, without effect here: chat upstreams refuse what they do not know.
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
# OpenAI has them for chat completions, too; clients send them unasked, and others refuse them.
_OPENAI_ONLY = frozenset(
    {
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
    }
)
# What a function tool may say here and not in a chat completion.
_NOT_IN_CHAT_TOOLS = frozenset(
    {"type", "allowed_callers", "async", "defer_loading", "output_schema"}
)


class ResponsesBody(Checked, OpenBody):
    """OpenAI's request for a response."""

    input: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[list[dict[str, Any]], Field(min_length=1), Tag("parts")],
        Field(description="Text, or items: messages, function calls and their outputs"),
        Discriminator(shape_of),
    ]
    model: Annotated[
        Name | None, Field(description="`role:<name>` picks one of GET /roles instead")
    ] = None
    instructions: str | None = None
    previous_response_id: Name | None = None
    background: bool | None = None
    stream: bool | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    role_template: Annotated[Name | None, Field(description="A template of GET /roles")] = None

    def check(self) -> None:
        """Refuse what cannot be done; raises Problem."""
        for name, instead in _UNSUPPORTED.items():
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name, f"{name} is not supported here: {instead}.")
        if self.background and self.store is False:
            raise Problem(
                400, "invalid_value", "store: a background response is stored", param="store"
            )
        if self.truncation not in (None, "disabled"):
            raise unsupported("truncation", "truncation: only disabled is supported.")

    def items(self) -> list[dict[str, Any]]:
        """The input as items."""
        return input_items(self.input)

    def asked(self, context: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The messages for the upstream, after those of earlier responses; raises Problem."""
        instructions = self.instructions
        opening = [{"role": "system", "content": instructions}] if instructions else []
        messages = chat_messages(self.items())
        if not messages:
            raise Problem(400, "invalid_value", "input: there is nothing to answer", param="input")
        return [*opening, *in_chat_order([*context, *messages])]

    def role(self) -> str | None:
        """The role that is asked for, in either way."""
        return self.role_template or role_of(self.model)

    def echoed(self) -> dict[str, Any]:
        """What the response says of how it was asked."""
        given = {name: getattr(self, name) for name in _ECHOED}
        return {
            name: default if given[name] is None else given[name]
            for name, default in _ECHOED.items()
        }

    def params(self) -> dict[str, Any]:
        """What the upstream is to be given next to the messages; raises Problem."""
        wants_logprobs = bool(self.top_logprobs) or _LOGPROBS in (self.include or [])
        mapped = {
            **{name: getattr(self, name) for name in _SAME_NAMES},
            "max_tokens": self.max_output_tokens,
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

    def openai_params(self) -> dict[str, Any]:
        """As `params`, for no other upstream than OpenAI."""
        given = self.model_extra or {}
        return {name: given[name] for name in _OPENAI_ONLY & given.keys() if given[name]}


def _tool(tool: dict[str, Any], number: int) -> dict[str, Any]:
    param = f"tools[{number}]"
    if "function" in tool:
        raise _nested(f"{param}.function")
    if tool.get("type") != "function":
        param = f"{param}.type"
        raise unsupported(param, f"{param}: only tools of type function are supported.")
    if not isinstance(tool.get("name"), str):
        param = f"{param}.name"
        raise Problem(400, "invalid_value", f"{param}: text is needed", param=param)
    function = {
        key: value
        for key, value in tool.items()
        if key not in _NOT_IN_CHAT_TOOLS and value is not None
    }
    return {"type": "function", "function": function}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if choice is None or isinstance(choice, str):
        return choice
    if choice.get("type") != "function":
        raise unsupported("tool_choice", "tool_choice: use a word, or name a function.")
    if "function" in choice:
        raise _nested("tool_choice.function")
    return {"type": "function", "function": {"name": choice.get("name")}}


def _nested(param: str) -> Problem:
    message = "this is the form of chat completions; put what is in it beside type."
    return unsupported(param, f"{param}: {message}")


def _response_format(form: Any) -> dict[str, Any] | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema", "json_schema": _}:
            raise _nested("text.format.json_schema")
        case {"type": "json_schema"}:
            schema = {key: value for key, value in form.items() if key != "type"}
            return {"type": "json_schema", "json_schema": schema}
    raise unsupported("text.format", "text.format: use text, json_object or json_schema.")
