"""What OpenAI's Responses are asked with, in the words of a chat completion."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, StringConstraints, Tag

from api.bodies import MAX_MESSAGES, MAX_METADATA_KEYS, Checked, Name, shape_of
from api.openai_bodies import OpenBody, role_of, unsupported, without_role
from api.problems import Problem
from api.response_input import chat_messages, input_items

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
# Known, and without effect here.
_IGNORED = frozenset({"background_options", "include", "max_tool_calls", "stream_options"})


class ResponsesBody(Checked, OpenBody):
    """OpenAI's request for a response."""

    input: Annotated[
        Annotated[str, Tag("text")]
        | Annotated[
            list[dict[str, Any]], Field(min_length=1, max_length=MAX_MESSAGES), Tag("parts")
        ],
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
    metadata: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(min_length=1, max_length=64)],
                Annotated[str, StringConstraints(max_length=512)],
            ],
            Field(max_length=MAX_METADATA_KEYS),
        ]
        | None
    ) = None
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
        return [*opening, *context, *messages]

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
        extra = {k: v for k, v in (self.model_extra or {}).items() if k not in _IGNORED}
        params = {name: value for name, value in (extra | mapped).items() if value is not None}
        return without_role(params)


def _tool(tool: dict[str, Any], number: int) -> dict[str, Any]:
    if tool.get("type") != "function":
        param = f"tools[{number}].type"
        raise unsupported(param, f"{param}: only tools of type function are supported.")
    function = {key: value for key, value in tool.items() if key != "type" and value is not None}
    return {"type": "function", "function": function}


def _tool_choice(choice: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    if choice is None or isinstance(choice, str):
        return choice
    if choice.get("type") != "function":
        raise unsupported("tool_choice", "tool_choice: use a word, or name a function.")
    return {"type": "function", "function": {"name": choice.get("name")}}


def _response_format(form: Any) -> dict[str, Any] | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return {"type": "json_object"}
        case {"type": "json_schema"}:
            schema = {key: value for key, value in form.items() if key != "type"}
            return {"type": "json_schema", "json_schema": schema}
    raise unsupported("text.format", "text.format: use text, json_object or json_schema.")
