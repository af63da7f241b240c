"""What callers of `/v1` may send. What these bodies do not know goes to the upstream as it is."""

from typing import Annotated

from pydantic import Field

from tickertape.api.protocols.checked import Checked, Name
from tickertape.api.protocols.openai import OpenBody, role_of, unsupported, without_role
from tickertape.runtime.json_types import JsonObject

# The caller's own business with us, or set by us; everything else is a parameter of the model.
_NOT_PARAMS = frozenset({"messages", "stream", "stream_options", "n", "role_template"})
# Their answers come in fields that a log has no entry for.
_UNSUPPORTED = {
    "functions": "use `tools`",
    "function_call": "use `tool_choice`",
    "audio": "answers are text",
}


class OpenMessage(OpenBody):
    """A turn of the chat; what it holds is for the upstream to judge."""

    role: Name


class StreamOptions(OpenBody):
    """How a stream is to be written."""

    include_usage: bool | None = None


class ChatCompletionsBody(Checked, OpenBody):
    """OpenAI's chat completion request."""

    messages: Annotated[list[OpenMessage], Field(min_length=1)]
    model: Annotated[
        Name | None, Field(description="`role:<name>` picks one of GET /roles instead")
    ] = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    # The worker counts with these to see how much of a conversation fits.
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    role_template: Annotated[Name | None, Field(description="A template of GET /roles")] = None

    @property
    def includes_usage(self) -> bool:
        """Whether a stream is to end with what it cost."""
        return bool(self.stream_options and self.stream_options.include_usage)

    def asked(self) -> list[JsonObject]:
        """The caller's messages, as they were sent."""
        return [message.model_dump(exclude_unset=True) for message in self.messages]

    def params(self) -> JsonObject:
        """What the upstream is to be given next to the messages; raises Problem."""
        if self.n not in (None, 1):
            raise unsupported("n", "Only one answer is given for a request: n has to be 1.")
        for name, instead in _UNSUPPORTED.items():
            if (self.model_extra or {}).get(name) is not None:
                raise unsupported(name, f"{name} is not supported here: {instead}.")
        given = self.model_dump(exclude_unset=True, exclude=set(_NOT_PARAMS))
        # Some clients send every field they know, and null for those that were not set.
        return without_role({name: value for name, value in given.items() if value is not None})

    def role(self) -> str | None:
        """The role that is asked for, in either way."""
        return self.role_template or role_of(self.model)
