"""What callers may send, checked whole before anything is done with it.

Unknown fields are refused on native paths, so that a misspelt one never goes unnoticed.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from tickertape.api.edge.problems import Problem, join_path
from tickertape.api.protocols.json_body import MAX_DEPTH

MAX_METADATA_KEYS = 16
# A template names a variable as often as it likes. What is long is the message, and not its role.
MAX_VARIABLE_CHARS = 65_536
# What may stand in a path as it is: conversations are addressed by their ids.
CONVERSATION_ID = r"^[A-Za-z0-9._~:@+=-]{1,200}$"

Name: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=200)]
OnBusy: TypeAlias = Literal["queue", "reject", "replace"]
OnInterruption: TypeAlias = Literal["restart", "continue", "fail"]


def check_json(value: Any) -> None:
    """Refuse what JSON can say but no model, no log and no other program takes.

    That is NUL, halves of a surrogate pair, numbers without end, and nesting beyond MAX_DEPTH.
    Raises Problem naming the field.
    """
    # The place is looked for only when there is something to name: most bodies are as they should.
    if not _is_storable(value, MAX_DEPTH.get()):
        _name_fault(value, ())


def _is_storable(value: Any, max_depth: int) -> bool:
    """Whether there is nothing to refuse, level by level: each value is looked at once."""
    level, depth = [value], 0
    while level:
        if depth > max_depth:
            return False
        below: list[Any] = []
        for item in level:
            match item:
                case str():
                    if not _is_storable_text(item):
                        return False
                case dict():
                    if not all(map(_is_storable_text, item)):
                        return False
                    below.extend(item.values())
                case list():
                    below.extend(item)
                case float() if not math.isfinite(item):
                    return False
        level, depth = below, depth + 1
    return True


def _is_storable_text(text: str) -> bool:
    if "\0" in text:
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name_fault(value: Any, steps: tuple[str | int, ...]) -> None:
    if len(steps) > MAX_DEPTH.get():
        raise _invalid(steps[:1], f"nested deeper than {MAX_DEPTH.get()} levels")
    match value:
        case str():
            _check_text(value, steps)
        case float() if not math.isfinite(value):
            raise _invalid(steps, "not a finite number")
        case list():
            for number, item in enumerate(value):
                _name_fault(item, (*steps, number))
        case dict():
            for key, item in value.items():
                # Of a wrong key only the place is named: the key itself could not be sent back.
                _check_text(key, steps)
                _name_fault(item, (*steps, key))


def _check_text(text: str, steps: tuple[str | int, ...]) -> None:
    if "\0" in text:
        raise _invalid(steps, "holds a NUL character")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _invalid(steps, "holds half of a surrogate pair") from None


def _invalid(steps: tuple[str | int, ...], fault: str) -> Problem:
    param = join_path(steps)
    return Problem(400, "invalid_value", f"{param or 'body'}: {fault}", param=param or None)


class Checked(BaseModel):
    """A whole body."""

    @model_validator(mode="before")
    @classmethod
    def _is_clean(cls, body: Any) -> Any:
        check_json(cls.judged(body))
        return body

    @classmethod
    def judged(cls, body: Any) -> Any:
        """What of a body is kept or passed on: a fault in the rest hurts nobody."""
        return body


def known_fields(
    model: type[BaseModel], value: Any, inner: Mapping[str, type[BaseModel]] | None = None
) -> Any:
    """The fields of a model that an object has; of those in `inner`, each object's known fields.

    The numbers of what stands in a list stay, so that a fault is named as its caller would.
    """
    if not isinstance(value, dict):
        return value
    known = {name: value[name] for name in model.model_fields if name in value}
    for name, item_model in (inner or {}).items():
        items = known.get(name)
        if isinstance(items, list):
            known[name] = [known_fields(item_model, item) for item in items]
        elif name in known:
            known[name] = known_fields(item_model, items)
    return known


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ImageUrl(_Strict):
    """An image, by address or as a `data:` URL; the upstream fetches it, never this server."""

    url: str
    detail: str | None = None


class Part(_Strict):
    """A piece of a message: text, or an image for models that take them."""

    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None

    @model_validator(mode="after")
    def _holds_its_type(self) -> Self:
        if getattr(self, self.type) is None:
            raise ValueError(f"a part of type {self.type} needs the field {self.type}")
        return self


def shape_of(content: Any) -> str:
    """The branch of what may be text or a list, so that a fault in one is not told of the other."""
    return "parts" if isinstance(content, list) else "text"


Content: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[Part], Tag("parts")], Discriminator(shape_of)
]


class Message(_Strict):
    """A turn of the chat, as OpenAI has it."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Name | None = None
    tool_calls: list[dict[str, Any]] | None = None
    # Gateways put a thought signature into it, so that it has no length of its own.
    tool_call_id: Annotated[str, StringConstraints(min_length=1)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs content")
        return self


class ChatBody(Checked, _Strict):
    """A request to be generated: `message`, or `messages` for more than one turn."""

    message: Annotated[str, Field(min_length=1, examples=["Why is the sky blue?"])] | None = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None
    role: Annotated[Name, Field(description="A template of GET /roles")] | None = None
    variables: Annotated[
        dict[Name, Annotated[str, StringConstraints(max_length=MAX_VARIABLE_CHARS)]],
        Field(
            description="Values in place of the role's defaults", examples=[{"LEVEL": "a nurse"}]
        ),
    ] = {}
    model: Name | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    conversation_id: Annotated[str, StringConstraints(pattern=CONVERSATION_ID)] | None = None
    on_busy: Annotated[
        OnBusy, Field(description="What to do while the conversation has an active request")
    ] = "queue"
    on_interruption: Annotated[
        OnInterruption, Field(description="What to do when the answer breaks off after output")
    ] = "restart"
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

    @model_validator(mode="after")
    def _asks_once(self) -> Self:
        if self.message is None and self.messages is None:
            raise Problem(
                400, "missing_field", "message: give message or messages", param="message"
            )
        if self.message is not None and self.messages is not None:
            raise Problem(
                400, "invalid_value", "message: give message or messages, not both", param="message"
            )
        return self

    def asked(self) -> list[dict[str, Any]]:
        """The caller's messages, as they were sent."""
        if self.message is not None:
            return [{"role": "user", "content": self.message}]
        return [message.model_dump(exclude_unset=True) for message in self.messages or ()]


class TerminalMessage(BaseModel):
    """A turn as GPT Terminal's page keeps it; what else it notes there is not ours."""

    role: Literal["system", "user", "assistant"]
    content: str


class TerminalBody(Checked):
    """GPT Terminal's call: a question, or the conversation so far with the question at its end."""

    message: Annotated[
        Annotated[str, Field(min_length=1), Tag("text")]
        | Annotated[list[TerminalMessage], Field(min_length=1), Tag("parts")],
        Discriminator(shape_of),
    ]
    role: Annotated[str, StringConstraints(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    model: Annotated[str, StringConstraints(max_length=200)] | None = None

    @classmethod
    def judged(cls, body: Any) -> Any:
        """What the page notes beside its turns is left out."""
        return known_fields(cls, body, {"message": TerminalMessage})

    def asked(self) -> list[dict[str, Any]]:
        """The caller's messages."""
        if isinstance(self.message, str):
            return [{"role": "user", "content": self.message}]
        return [message.model_dump() for message in self.message]
