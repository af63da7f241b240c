"""Pure: the answer of one request, folded from its events.

The rule for every client: `started`, `reset` and `rewind` clear the text, `snapshot` replaces it,
`delta` appends.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from tickertape.client.events import ENDS, Event

_CLEARING = frozenset({"started", "reset", "rewind"})


@dataclass(frozen=True)
class TextAdded:
    """Text was appended to the answer."""

    text: str


@dataclass(frozen=True)
class ReasoningAdded:
    """The model reasoned. This text is not part of the answer."""

    text: str


@dataclass(frozen=True)
class ToolsCalled:
    """The model began to call tools; reported once for each attempt."""


@dataclass(frozen=True)
class ToolReturned:
    """A function has run a tool. `result` is anything that JSON can hold."""

    name: str
    result: Any
    is_error: bool = False


@dataclass(frozen=True)
class DataGiven:
    """A function gave data to its own clients. It replaces earlier data with this name and id."""

    name: str
    value: Any
    id: str | None = None


@dataclass(frozen=True)
class TextCleared:
    """The answer starts over, so all of its text so far is void."""

    reason: str


@dataclass(frozen=True)
class Ended:
    """The request ended: `status` is completed, failed, cancelled or gone."""

    status: str
    finish_reason: str | None = None
    code: str | None = None
    message: str | None = None


Change: TypeAlias = (
    TextAdded | ReasoningAdded | ToolsCalled | ToolReturned | DataGiven | TextCleared | Ended
)

DAMAGED = "text_damaged"
"""The code of an Ended whose text does not match the checksum of the server."""


@dataclass
class Folded:
    """The answer so far. Fold the events of one request in the order of its log.

    `is_whole` is false if earlier entries were skipped; the checksum is not compared then.
    """

    is_whole: bool = True
    text: str = ""
    model: str | None = None
    usage: dict[str, Any] | None = None
    end: Ended | None = None
    _has_output: bool = False
    # The names of the calls by their indices, and the indices of those without a result.
    _calls: dict[int, str] = field(default_factory=dict)
    _open: set[int] = field(default_factory=set)
    _pieces: list[str] = field(default_factory=list)
    _reasoning: list[str] = field(default_factory=list)
    _sha256: Any = field(default_factory=hashlib.sha256)

    @property
    def reasoning(self) -> str:
        """The reasoning so far. Takes time for all of its pieces."""
        return "".join(self._reasoning)

    @property
    def has_open_calls(self) -> bool:
        """Whether a tool was called and has given no result."""
        return bool(self._open)

    def apply(self, event: Event) -> list[Change]:
        """What the next event changes; an empty list for an unknown kind."""
        match event.kind:
            case "delta":
                self._sha256.update(event.text.encode("utf-8", "replace"))
                return [self._add_text(event.text)]
            case "refusal":
                return [self._add_text(event.text)]
            case "reasoning":
                return [self._add_reasoning(event.text)]
            case "tool_call" | "tool_result" | "data":
                self._has_output = True
                return self._add_step(event.kind, event.data)
            case "snapshot":
                return self._replace(event.data)
            case kind if kind in _CLEARING:
                self.model = event.data.get("model", self.model)
                return self._clear(kind, str(event.data.get("reason") or "a new attempt"))
            case kind if kind in ENDS:
                return [self._finish(kind, event.data)]
        return []

    def _add_text(self, text: str) -> TextAdded:
        self._has_output = True
        self._pieces.append(text)
        return TextAdded(text)

    def _add_reasoning(self, text: str) -> ReasoningAdded:
        self._has_output = True
        self._reasoning.append(text)
        return ReasoningAdded(text)

    def _add_step(self, kind: str, data: dict[str, Any]) -> list[Change]:
        if kind == "data":
            return [DataGiven(str(data.get("name") or ""), data.get("value"), data.get("id"))]
        index = data.get("index", 0)
        if kind == "tool_result":
            self._open.discard(index)
            name, is_error = self._calls.get(index) or "a tool", bool(data.get("is_error"))
            return [ToolReturned(name, data.get("result"), is_error)]
        is_first = not self._calls
        self._calls[index] = self._calls.get(index) or str(data.get("name") or "")
        self._open.add(index)
        return [ToolsCalled()] if is_first else []

    def _clear(self, kind: str, reason: str) -> list[Change]:
        # The events before the first one are unknown, except that `started` never follows output.
        had_output = self._has_output or (not self.is_whole and kind != "started")
        self.is_whole = True
        self._has_output = False
        self._calls.clear()
        self._open.clear()
        self._pieces.clear()
        self._reasoning.clear()
        self._sha256 = hashlib.sha256()
        return [TextCleared(reason)] if had_output else []

    def _replace(self, data: dict[str, Any]) -> list[Change]:
        changes = self._clear("snapshot", "the complete text follows")
        for kind in ("reasoning", "refusal"):
            if data.get(kind):
                changes += self.apply(Event(kind, {"text": data[kind]}))
        if data.get("text"):
            changes += self.apply(Event("delta", {"text": data["text"]}))
        for kind, listed in (
            ("tool_call", "tool_calls"),
            ("tool_result", "tool_results"),
            ("data", "data"),
        ):
            for one in data.get(listed) or ():
                changes += self.apply(Event(kind, one))
        return changes

    def _finish(self, status: str, data: dict[str, Any]) -> Ended:
        self.text = "".join(self._pieces)
        self.usage = data.get("usage")
        self.end = self._ended(status, data)
        return self.end

    def _ended(self, status: str, data: dict[str, Any]) -> Ended:
        expected = data.get("sha256")
        if status == "gone":
            return Ended(status, message="the request expired before its end was read")
        if status == "failed":
            message = str(data.get("message") or "the server gave no reason")
            return Ended(status, code=str(data.get("code") or "unknown"), message=message)
        if self.is_whole and expected and expected != self._sha256.hexdigest():
            message = "the text does not match the checksum of the server"
            return Ended(status, code=DAMAGED, message=message)
        return Ended(status, finish_reason=str(data.get("finish_reason") or "stop"))
