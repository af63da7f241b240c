"""The body of a chat completion. Unknown fields go to the upstream unchanged."""

from typing import Annotated

from pydantic import ConfigDict, Field

from tickertape.api.protocols.checked import Checked, Item, Items, Name
from tickertape.api.protocols.openai import OpenBody, role_of, unsupported, without_role
from tickertape.runtime.json_types import JsonObject

# Fields that this server reads or sets. All others are parameters of the upstream.
_NOT_PARAMS = frozenset({"messages", "stream", "stream_options", "n", "role_template"})
# The log has no kind of entry for the answers to these fields.
_UNSUPPORTED = {
    "functions": "use `tools`",
    "function_call": "use `tool_choice`",
    "audio": "answers are text",
}


class OpenMessage(Item, OpenBody):
    """A message. The upstream validates its content."""

    role: Name

    def sent(self) -> JsonObject:
        """The message as it was sent."""
        return {"role": self.role, **(self.model_extra or {})}


class StreamOptions(OpenBody):
    """Options of a stream."""

    include_usage: bool | None = None


class ChatCompletionsBody(Checked, OpenBody):
    """OpenAI's chat completion request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [{"role": "user", "content": "Why is the sky blue?"}],
                    "max_tokens": 100,
                }
            ]
        }
    )

    messages: Annotated[Items[OpenMessage], Field(min_length=1)]
    model: Annotated[
        Name | None, Field(description="`role:<name>` selects a role of `GET /roles`")
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    # The worker subtracts these limits from the context when it selects the turns to send.
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    role_template: Annotated[Name | None, Field(description="A role of `GET /roles`")] = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the usage."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def chat_messages(self) -> list[JsonObject]:
        """The caller's messages, as they were sent."""
        return [message.sent() for message in self.messages]

    def params(self) -> JsonObject:
        """The upstream's parameters beside the messages; raises Problem."""
        if self.n not in (None, 1):
            raise unsupported("n", "n must be 1, because a request has one answer.")
        for name, instead in _UNSUPPORTED.items():
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name, f"{name} is not supported here: {instead}.")
        known = {name: getattr(self, name) for name in type(self).model_fields}
        sent = {**known, **(self.model_extra or {})}
        # Some clients send every field they know, and null for those that were not set.
        params = {name: value for name, value in sent.items() if value is not None}
        return without_role({name: params[name] for name in params if name not in _NOT_PARAMS})

    def role(self) -> str | None:
        """The role, which callers name by `role_template` or as a model."""
        return self.role_template or role_of(self.model)
