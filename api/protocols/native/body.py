"""What callers send to `POST /chat`. Unknown fields are refused, so a misspelt one is noticed."""

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

from tickertape.api.protocols.checked import (
    Checked,
    Item,
    Items,
    Metadata,
    Name,
    at_most,
    field_error,
    shape_of,
)
from tickertape.broker.kinds import OnBusy, Policy
from tickertape.broker.turns import Links
from tickertape.runtime.json_types import JsonObject

# A template may use a variable many times, so a long value belongs into the message instead.
MAX_VARIABLE_CHARS = 65_536
MAX_VARIABLES = 1000
# Conversations are addressed by their ids, so an id holds only what a URL path holds unescaped.
CONVERSATION_ID = r"^[A-Za-z0-9._~:@+=-]{1,200}$"


RetentionS = Annotated[
    int,
    Field(
        ge=1,
        le=31_536_000,
        description="How many seconds the request is kept after its end. With a conversation: how "
        "many the conversation is kept after its last request, from now on, and its requests for "
        "at most as long. The server sets the limits",
    ),
]


class _Strict(Item, BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ImageUrl(_Strict):
    """An image by URL or as a `data:` URL. The upstream fetches it, never this server."""

    url: str
    detail: str | None = None


class InputAudio(_Strict):
    """Sound in base64."""

    data: Annotated[str, Field(min_length=1)]
    format: Literal["wav", "mp3"]


class AttachedFile(_Strict):
    """A file, usually a PDF, as a `data:` URL."""

    filename: Name
    file_data: Annotated[str, StringConstraints(pattern="^data:")]


class Part(_Strict):
    """A part of a message: text, or an image, sound or file for models that accept it."""

    type: Literal["text", "image_url", "input_audio", "file"]
    text: str | None = None
    image_url: ImageUrl | None = None
    input_audio: InputAudio | None = None
    file: AttachedFile | None = None

    @model_validator(mode="after")
    def _holds_its_type(self) -> Self:
        if getattr(self, self.type) is None:
            raise ValueError(f"a part of type {self.type} needs the field {self.type}")
        return self


Content: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[Items[Part], Tag("parts")], Discriminator(shape_of)
]


class Message(_Strict):
    """A message in OpenAI's form."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    name: Name | None = None
    tool_calls: Items[JsonObject] | None = None
    # Gateways put a thought signature into it, so its length has no limit.
    tool_call_id: Annotated[str, StringConstraints(min_length=1)] | None = None

    def sent(self) -> JsonObject:
        """The message as it was sent."""
        sent: JsonObject = {
            name: getattr(self, name)
            for name in type(self).model_fields
            if name in self.model_fields_set
        }
        if isinstance(self.content, list):
            # One by one, because one call for all parts would delay other threads.
            sent["content"] = [part.model_dump(exclude_unset=True) for part in self.content]
        return sent

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and not self.tool_calls:
            raise ValueError("a message needs content")
        return self


class ChatBody(Checked, _Strict):
    """A request, with one `message` or with several `messages`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"message": "Why is the sky blue?", "conversation_id": "sky", "max_tokens": 100}
            ]
        }
    )

    message: Annotated[str, Field(min_length=1, examples=["Why is the sky blue?"])] | None = None
    messages: Annotated[Items[Message], Field(min_length=1)] | None = None
    role: Annotated[Name, Field(description="A role of `GET /roles`")] | None = None
    variables: Annotated[
        dict[Name, Annotated[str, StringConstraints(max_length=MAX_VARIABLE_CHARS)]],
        at_most(MAX_VARIABLES),
        Field(
            description="Values that replace the role's defaults", examples=[{"LEVEL": "a nurse"}]
        ),
    ] = {}
    model: Name | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    conversation_id: Annotated[str, StringConstraints(pattern=CONVERSATION_ID)] | None = None
    parent_id: Annotated[
        Annotated[str, StringConstraints(min_length=1)] | None,
        Field(
            description="The request id of the turn that this one follows, for another branch of "
            "the conversation: an edited question or another answer. Null for the start of the "
            "conversation. Without the field, the request follows the latest turn",
            examples=["r0_mfzwizltoqydimrtgu2dknjuha"],
        ),
    ] = None
    on_busy: Annotated[
        OnBusy, Field(description="What to do while the conversation has an active request")
    ] = "queue"
    on_interruption: Annotated[
        Policy, Field(description="What to do when the answer breaks off after output")
    ] = "restart"
    metadata: Metadata | None = None
    retention_s: RetentionS | None = None

    @model_validator(mode="after")
    def _has_one_question(self) -> Self:
        if self.message is None and self.messages is None:
            raise field_error("missing", "message", "give message or messages")
        if self.message is not None and self.messages is not None:
            raise field_error("value_error", "message", "give message or messages, not both")
        if "parent_id" in self.model_fields_set and self.conversation_id is None:
            raise field_error("value_error", "parent_id", "give conversation_id, too")
        return self

    @property
    def links(self) -> Links:
        """The place of the turn in its conversation."""
        if "parent_id" not in self.model_fields_set:
            return Links()
        return Links(parent=self.parent_id or "")

    def chat_messages(self) -> list[JsonObject]:
        """The caller's messages, as they were sent."""
        if self.message is not None:
            return [{"role": "user", "content": self.message}]
        return [message.sent() for message in self.messages or ()]
