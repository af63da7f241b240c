"""What GPT Terminal's page sends."""

from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, StringConstraints, Tag

from tickertape.api.protocols.checked import Checked, known_fields, shape_of
from tickertape.runtime.json_types import JsonObject


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
    def judged(cls, body: object) -> object:
        """What the page notes beside its turns is left out."""
        return known_fields(cls, body, {"message": TerminalMessage})

    def asked(self) -> list[JsonObject]:
        """The caller's messages."""
        if isinstance(self.message, str):
            return [{"role": "user", "content": self.message}]
        return [message.model_dump() for message in self.message]
