"""A role whose file was read and checked: frozen values, and their JSON."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

Speaker: TypeAlias = Literal["system", "user", "assistant"]

# A chat message in OpenAI's form: `role`, `content` (text or a list of parts), and any other keys
# that a client sends (tool_calls, name ...), which pass unchecked.
Message: TypeAlias = dict[str, Any]


class ModelDefaults(TypedDict, total=False):
    """The parameters for requests that do not set them; only the keys that the role file sets."""

    model: str
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class RoleMessage:
    """One message of a template; `content` contains its `${NAME}` placeholders."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True)
class Role:
    """A template: messages to put before the caller's messages, and default parameters.

    `variables` maps each declared name to its default. `OS` always exists and is not in this map.
    """

    name: str
    description: str
    messages: tuple[RoleMessage, ...]
    model_defaults: ModelDefaults
    variables: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """Return a new JSON object without the messages: one item of the list of roles."""
        return {
            "name": self.name,
            "description": self.description,
            "model_defaults": dict(self.model_defaults),
            "variables": dict(self.variables),
        }

    def detail(self) -> dict[str, Any]:
        """Return a new JSON object with the messages, whose placeholders are not filled."""
        messages = [{"role": message.role, "content": message.content} for message in self.messages]
        return {**self.summary(), "messages": messages}
