"""What a role is once its file was read and found right: frozen values, and their JSON."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypedDict

Speaker: TypeAlias = Literal["system", "user", "assistant"]

# A chat message as OpenAI's wire has it: `role`, `content` (text or a list of parts), and whatever
# other keys a client sends (tool_calls, name ...), which are not ours to judge.
Message: TypeAlias = dict[str, Any]


class ModelDefaults(TypedDict, total=False):
    """What a role asks of the model where a request does not say; only the keys its file gives."""

    model: str
    temperature: float
    top_p: float
    max_tokens: int


@dataclass(frozen=True, slots=True)
class RoleMessage:
    """One message of a template; `content` still holds its `${NAME}` placeholders."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True)
class Role:
    """A template: messages that go before the caller's, and what it asks of the model.

    `variables` maps each declared name to its default; `OS` is always there and never in it.
    """

    name: str
    description: str
    messages: tuple[RoleMessage, ...]
    model_defaults: ModelDefaults
    variables: dict[str, str]

    def summary(self) -> dict[str, Any]:
        """Return a fresh, JSON-able view without the messages: one item of a list of roles."""
        return {
            "name": self.name,
            "description": self.description,
            "model_defaults": dict(self.model_defaults),
            "variables": dict(self.variables),
        }

    def detail(self) -> dict[str, Any]:
        """Return a fresh, JSON-able view of everything, placeholders unfilled."""
        messages = [{"role": said.role, "content": said.content} for said in self.messages]
        return {**self.summary(), "messages": messages}
