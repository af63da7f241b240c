"""Pure: turns the events of one request into actions for a terminal."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from tickertape.cli.chat.text import one_line
from tickertape.client import Event
from tickertape.client.fold import (
    Change,
    DataGiven,
    Ended,
    Folded,
    ReasoningAdded,
    TextAdded,
    TextCleared,
    ToolReturned,
    ToolsCalled,
)


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
_OPENERS = frozenset({"started", "reset", "rewind"})
_WAITING = frozenset({"queued", "position", "waiting"})
_FOR_CLIENTS = "the model calls tools; GET /chat/{request_id} returns the calls"
_SHOWN_CHARACTERS = 200


class Fold:
    """Folds events in the order of the log. `is_whole` is false if earlier entries were skipped."""

    def __init__(self, *, is_whole: bool = True) -> None:
        self._folded = Folded(is_whole=is_whole)
        # Data with an id may be replaced, and a line of a terminal cannot.
        self._data: dict[tuple[str, str], DataGiven] = {}

    def apply(self, event: Event) -> list[Action]:
        """The actions for the next event; an empty list for an unknown kind."""
        changes = self._folded.apply(event)
        actions = [action for change in changes for action in self._shown(change)]
        if event.kind in _OPENERS:
            actions.append(Progress("waiting for the first token"))
        elif event.kind in _WAITING:
            actions.append(Progress(_waiting(event.kind, event.data)))
        return actions

    def _shown(self, change: Change) -> list[Action]:
        match change:
            case TextAdded(text):
                return [Text(text)]
            case ReasoningAdded(text):
                return [Reasoning(text)]
            case TextCleared(reason):
                self._data.clear()
                return [Clear(reason)]
            case ToolsCalled():
                return [Progress("a tool runs")]
            case ToolReturned():
                return [_result(change)]
            case DataGiven():
                return self._given(change)
            case Ended():
                has_open_calls = self._folded.has_open_calls and change.status == "completed"
                calls = [Note(_FOR_CLIENTS)] if has_open_calls else []
                return [*map(_data, self._data.values()), *calls, *_ending(change)]

    def _given(self, data: DataGiven) -> list[Action]:
        if data.id is None:
            return [_data(data)]
        self._data[data.name, data.id] = data
        return []


def _result(returned: ToolReturned) -> Note:
    failed = " failed" if returned.is_error else ""
    return Note(one_line(f"{returned.name}{failed}: {_plain(returned.result)}", _SHOWN_CHARACTERS))


def _data(given: DataGiven) -> Note:
    return Note(one_line(f"data {given.name}: {_plain(given.value)}", _SHOWN_CHARACTERS))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _ending(end: Ended) -> list[Action]:
    if end.status == "failed":
        return [End(end.status, f"{end.message} ({end.code})")]
    if end.message is not None:
        return [End(end.status, end.message)]
    if end.finish_reason in _WHOLE:
        return [End(end.status)]
    other = f"the upstream ended the answer with finish_reason {end.finish_reason!r}"
    return [Note(_CUT_SHORT.get(str(end.finish_reason), other)), End(end.status)]


def _waiting(kind: str, data: Mapping[str, Any]) -> str:
    if since_s := data.get("no_worker_since"):
        return f"no worker has asked for work since {_clock(since_s)}"
    match kind:
        case "position":
            return f"queued, {data.get('position')} ahead"
        case "waiting":
            return f"waiting: {data.get('reason') or 'the upstream is busy'}"
        case _:
            return "queued"


def _clock(unix_s: float) -> str:
    """The local time of day, with the date if it is another day."""
    then, now = time.localtime(unix_s), time.localtime()
    is_today = then[:3] == now[:3]
    return time.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M", then)
