"""What adapters share: a tool call that arrives in parts, and how their answers end."""

from dataclasses import dataclass

from tickertape.worker.functions.values import Finish, ToolCall

STOPPED = Finish("stop")
"""The end of an answer whose tools the library has run."""


@dataclass
class PartialCall:
    """A tool call that arrives in parts."""

    name: str = ""
    arguments: str = ""
    id: str | None = None

    def add(self, name: str | None, arguments: str | None, call_id: str | None) -> None:
        """Add a part, which has only what is new."""
        self.name += name or ""
        self.arguments += arguments or ""
        self.id = call_id or self.id

    def whole(self) -> ToolCall:
        """The call, of which all parts have arrived."""
        return ToolCall(self.name, self.arguments or "{}", self.id)
