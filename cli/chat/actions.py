"""Pure: the events of one request to what a terminal shall do about them.

The whole rule: `started`, `reset` and `rewind` clear the text, `snapshot` sets it, `delta` adds.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from tickertape.cli.chat.events import Event


@dataclass(frozen=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """What the model thinks before it answers; no part of the answer."""

    text: str


@dataclass(frozen=True)
class Clear:
    """All text so far is void."""

    reason: str


@dataclass(frozen=True)
class Status:
    """What is going on; worth a look only until the next thing happens."""

    text: str


@dataclass(frozen=True)
class Note:
    """Something to tell the user next to the answer."""

    text: str


@dataclass(frozen=True)
class End:
    """The end. `state` is completed, failed, cancelled or gone; `problem` is what went wrong."""

    state: str
    problem: str | None = None


Action: TypeAlias = Text | Reasoning | Clear | Status | Note | End

_WHOLE = frozenset({"stop", "tool_calls", "function_call"})
_CUT_SHORT = {
    "length": "the answer reached its limit of tokens",
    "content_filter": "the upstream's content filter cut the answer",
}


class Fold:
    """Folds events in their order. `is_whole` is false when they do not begin with the log."""

    def __init__(self, *, is_whole: bool = True) -> None:
        self._is_whole = is_whole
        self._has_output = False
        self._has_tool_call = False
        self._sha256 = hashlib.sha256()

    def apply(self, event: Event) -> list[Action]:
        """What to do about the next event. A kind that this version does not know is nothing."""
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
                actions = [*self._clear(kind, data), Status("waiting for the first word")]
            case "snapshot":
                actions = self._set(data)
            case "queued" | "position" | "waiting":
                actions = [Status(_waiting(kind, data))]
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
        return [Note("the answer calls tools; its JSON has the calls")]

    def _clear(self, kind: str, data: Mapping[str, Any]) -> list[Action]:
        # Of what came before the first event we know only that `started` never follows output.
        had_output = self._has_output or (not self._is_whole and kind != "started")
        self._is_whole = True
        self._has_output = self._has_tool_call = False
        self._sha256 = hashlib.sha256()
        return [Clear(str(data.get("reason") or "a new attempt"))] if had_output else []

    def _set(self, data: Mapping[str, Any]) -> list[Action]:
        actions = self._clear("snapshot", {"reason": "the whole text follows"})
        for kind in ("reasoning", "refusal"):
            if data.get(kind):
                actions += self._add_beside(kind, {"text": data[kind]})
        if data.get("text"):
            actions += self._add(data)
        return [*actions, *(self._note_tool_call() if data.get("tool_calls") else [])]

    def _end(self, state: str, data: Mapping[str, Any]) -> list[Action]:
        if state == "gone":
            return [End(state, "the log expired before its end was read")]
        if state == "failed":
            message = data.get("message") or "no reason was given"
            return [End(state, f"{message} ({data.get('code') or 'unknown'})")]
        if self._is_damaged(data):
            return [End(state, "the text does not have the checksum that the server gave for it")]
        reason = str(data.get("finish_reason") or "stop")
        if reason in _WHOLE:
            return [End(state)]
        other = f"the upstream ended the answer with the reason {reason!r}"
        return [Note(_CUT_SHORT.get(reason, other)), End(state)]

    def _is_damaged(self, data: Mapping[str, Any]) -> bool:
        expected = data.get("sha256")
        return self._is_whole and bool(expected) and expected != self._sha256.hexdigest()


def _waiting(kind: str, data: Mapping[str, Any]) -> str:
    match kind:
        case "position":
            return f"queued, {data.get('position')} ahead"
        case "waiting":
            return f"waiting: {data.get('reason') or 'the upstream asked for it'}"
        case _:
            return "queued"
