"""The body that GPT Terminal's page sends."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Discriminator, Field, StringConstraints, Tag

from tickertape.api.protocols.checked import Checked, Item, Items, known_fields, shape_of
from tickertape.runtime.json_types import JsonObject


class TerminalMessage(Item):
    """A turn as GPT Terminal's page keeps it. The page's other fields are ignored."""

    role: Literal["system", "user", "assistant"]
    content: str


class TerminalBody(Checked):
    """GPT Terminal's call, with one message as text, or with all messages so far."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "Why is the sky blue?"}]})

    message: Annotated[
        Annotated[str, Field(min_length=1), Tag("text")]
        | Annotated[Items[TerminalMessage], Field(min_length=1), Tag("parts")],
        Discriminator(shape_of),
    ]
    role: Annotated[str, StringConstraints(max_length=200)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    model: Annotated[str, StringConstraints(max_length=200)] | None = None

    @classmethod
    def kept_fields(cls, body: object) -> object:
        """The body without fields that only the page uses."""
        return known_fields(cls, body, {"message": TerminalMessage})

    def chat_messages(self) -> list[JsonObject]:
        """The caller's messages."""
        if isinstance(self.message, str):
            return [{"role": "user", "content": self.message}]
        return [message.model_dump() for message in self.message]
