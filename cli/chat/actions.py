"""Pure: turns the events of one request into actions for a terminal.

The rule: `started`, `reset` and `rewind` clear the text, `snapshot` replaces it, `delta` appends.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tickertape.cli.chat.events import StreamEvent


@dataclass(frozen=True)
class Text:
    """Append this text to the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """Show text that the model produced while reasoning. It is not part of the answer."""

    text: str


@dataclass(frozen=True)
class Clear:
    """Discard all text shown so far, because the answer starts over."""

    reason: str


@dataclass(frozen=True)
class Progress:
    """Show what the request waits for, until the next action replaces the line."""

    text: str


@dataclass(frozen=True)
class Note:
    """Print a line for the user that is not part of the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """End the answer: `state` is completed, failed, cancelled or gone; `problem` says why."""

    state: str
    problem: str | None = None


Action: TypeAlias = Text | Reasoning | Clear | Progress | Note | End

_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
_CUT_SHORT = {
    "length": "the answer reached the token limit",
    "content_filter": "the content filter of the upstream cut the answer short",
}


class Fold:
    """Folds events in the order of the log. `is_whole` is false if earlier entries were skipped."""

    def __init__(self, *, is_whole: bool = True) -> None:
        self._is_whole = is_whole
        self._has_output = False
        self._has_tool_call = False
        self._sha256 = hashlib.sha256()

    def apply(self, event: StreamEvent) -> list[Action]:
        """The actions for the next event; an empty list for an unknown kind."""
        kind, data = event.kind, event.data
        actions: list[Action] = []
        match kind:
            case "delta":
                actions = self._add(data)
            case "reasoning" | "refusal":
                actions = self._add_beside(kind, data)
            case "tool_call":
                actions = self._note_tool_call()
            case "started" | "reset" | "rewind":
                actions = [*self._clear(kind, data), Progress("waiting for the first token")]
            case "snapshot":
                actions = self._set(data)
            case "queued" | "position" | "waiting":
                actions = [Progress(_waiting(kind, data))]
            case "completed" | "failed" | "cancelled" | "gone":
                actions = self._end(kind, data)
        return actions

    def _add(self, data: Mapping[str, Any]) -> list[Action]:
        text = str(data.get("text", ""))
        self._sha256.update(text.encode("utf-8", "replace"))
        self._has_output = True
        return [Text(text)]

    def _add_beside(self, kind: str, data: Mapping[str, Any]) -> list[Action]:
        self._has_output = True
        text = str(data.get("text", ""))
        return [Reasoning(text) if kind == "reasoning" else Text(text)]

    def _note_tool_call(self) -> list[Action]:
        self._has_output = True
        if self._has_tool_call:
            return []
        self._has_tool_call = True
        return [Note("the model calls tools; GET /chat/{request_id} returns the calls")]

    def _clear(self, kind: str, data: Mapping[str, Any]) -> list[Action]:
        # The events before the first one are unknown, except that `started` never follows output.
        had_output = self._has_output or (not self._is_whole and kind != "started")
        self._is_whole = True
        self._has_output = self._has_tool_call = False
        self._sha256 = hashlib.sha256()
        return [Clear(str(data.get("reason") or "a new attempt"))] if had_output else []

    def _set(self, data: Mapping[str, Any]) -> list[Action]:
        actions = self._clear("snapshot", {"reason": "the complete text follows"})
        for kind in ("reasoning", "refusal"):
            if data.get(kind):
                actions += self._add_beside(kind, {"text": data[kind]})
        if data.get("text"):
            actions += self._add(data)
        return [*actions, *(self._note_tool_call() if data.get("tool_calls") else [])]

    def _end(self, state: str, data: Mapping[str, Any]) -> list[Action]:
        if state == "gone":
            return [End(state, "the request expired before its end was read")]
        if state == "failed":
            message = data.get("message") or "the server gave no reason"
            return [End(state, f"{message} ({data.get('code') or 'unknown'})")]
        if self._is_damaged(data):
            return [End(state, "the text does not match the checksum of the server")]
        reason = str(data.get("finish_reason") or "stop")
        if reason in _WHOLE:
            return [End(state)]
        other = f"the upstream ended the answer with finish_reason {reason!r}"
        return [Note(_CUT_SHORT.get(reason, other)), End(state)]

    def _is_damaged(self, data: Mapping[str, Any]) -> bool:
        expected = data.get("sha256")
        return self._is_whole and bool(expected) and expected != self._sha256.hexdigest()


def _waiting(kind: str, data: Mapping[str, Any]) -> str:
    match kind:
        case "position":
            return f"queued, {data.get('position')} ahead"
        case "waiting":
            return f"waiting: {data.get('reason') or 'the upstream is busy'}"
        case _:
            return "queued"
