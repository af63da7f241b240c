"""Pure: the turns of a conversation, from their rows in Redis to the messages for a model.

A turn has one row for the question and, after its request has ended with a text or calls, one row
for the answer. `answered` is JSON text in every version, so that processes of the previous version,
which read no other field, read the same conversation.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any, NamedTuple, cast

import msgspec

from tickertape.broker.branches import path_of
from tickertape.broker.codec import START, Cursor, Entry, made_call_id
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import Terminal
from tickertape.broker.provider_fields import tool_of_call

# Follows the text of a stopped answer, so that the model sees that the answer was cut off.
# lifecycle.lua stores this text alone for a stop before the first word.
STOPPED = "[stopped]"

# The keys that an assistant's message has only because of its calls.
_OF_CALLS = ("tool_calls", "reasoning_content")

Messages = list[dict[str, Any]]
Row = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Links:
    """The client's ids for the messages of a turn, and the turn that this one replaces.

    `message_id` is the client's id of the question; `answer_id` is its id of the answer unless that
    is the request id. `replaces` is the row of the first question that this turn replaces: that
    turn and all later turns are no longer part of the conversation. `parent` is the request id of
    the turn that this one follows, empty for the start of the conversation; without it, the turn
    follows the latest one.
    """

    message_id: str | None = None
    answer_id: str | None = None
    replaces: Cursor | None = None
    parent: str | None = None

    def encode(self) -> bytes:
        """The links as a row stores them: JSON, empty without links."""
        fields = {"message_id": self.message_id, "answer_id": self.answer_id}
        fields["parent"] = self.parent
        if self.replaces is not None:
            fields["replaces"] = str(self.replaces)
        links = {name: value for name, value in fields.items() if value is not None}
        return msgspec.json.encode(links) if links else b""

    @classmethod
    def decode(cls, stored: bytes | None) -> "Links":
        """Read what `encode` made."""
        fields = msgspec.json.decode(stored, type=dict[str, str]) if stored else {}
        replaces = fields.get("replaces")
        return cls(
            message_id=fields.get("message_id"),
            answer_id=fields.get("answer_id"),
            replaces=Cursor.parse(replaces) if replaces else None,
            parent=fields.get("parent"),
        )


class TurnCalls(msgspec.Struct, frozen=True):
    """The part of a row for an answer that called tools.

    It has the pieces of the calls, and the reasoning before the calls: some models refuse a message
    with their calls if that reasoning is missing.
    """

    calls: Messages = []
    reasoning: str = ""


@dataclass(frozen=True)
class Turn:
    """One request of a conversation: the caller's messages, and the answer up to its end.

    `status` is how the request ended, and None until then. It stays None if there was no text to
    remember and the request failed, or a process of the previous version ended it. `answered` is
    the text of the answer or refusal, None without one. `calls` are the tool calls of a completed
    answer, with the `reasoning` before them. `row` is the id of the question's row in the stream,
    and `answer_row` that of the answer. `size_bytes` is the size of both rows.
    """

    request_id: str
    asked: Messages
    answered: str | None = None
    status: Terminal | None = None
    calls: Messages = field(default_factory=list)
    reasoning: str = ""
    links: Links = field(default_factory=Links)
    row: Cursor = field(default=START, compare=False)
    is_erased: bool = False
    answer_row: Cursor | None = field(default=None, compare=False)
    size_bytes: int = field(default=0, compare=False)

    def outline(self, earlier: "Turn | None" = None, asked_bytes: int = 0) -> "Turn":
        """The turn without its messages. A hash stands for the text, so that a change shows.

        `earlier` is the outline of the question alone, if that was read before. `asked_bytes` is
        the size of a question that was left out.
        """
        text = self.answered and hashlib.sha256(self.answered.encode()).hexdigest()
        size = self.size_bytes + asked_bytes + (earlier.size_bytes if earlier else 0)
        return replace(self, asked=[], answered=text, calls=[], reasoning="", size_bytes=size)


class _Place(NamedTuple):
    """A turn without its messages."""

    row: Cursor
    request_id: str
    links: Links
    is_erased: bool


def read_turns(rows: Iterable[Row]) -> list[Turn]:
    """The turns of the rows, in the order of their questions, with the places of erased turns."""
    asked: dict[str, tuple[Cursor, dict[bytes, bytes]]] = {}
    answered: dict[str, Row] = {}
    erased: list[Turn] = []
    for row_id, fields in rows:
        request_id = fields[b"id"].decode()
        if b"asked" in fields:
            asked[request_id] = Cursor.parse(row_id), fields
        elif b"erased" in fields:
            place = _place(row_id, fields)
            erased.append(Turn(request_id, [], links=place.links, row=place.row, is_erased=True))
        else:
            answered[request_id] = row_id, fields
    turns = [
        _turn(request_id, row, fields, answered.get(request_id))
        for request_id, (row, fields) in asked.items()
    ]
    return sorted([*turns, *erased], key=lambda turn: turn.row) if erased else turns


def answered_ids(rows: Iterable[Row]) -> Iterator[str]:
    """The requests whose answers are among the rows."""
    return (row[b"id"].decode() for _, row in rows if b"answered" in row and b"erased" not in row)


def without_messages(row: Row) -> Row:
    """The row of a question without the question, for the page that has the answer."""
    row_id, fields = row
    return row_id, {**fields, b"asked": b"[]"} if b"asked" in fields else fields


def exceed_memory(rows: Iterable[Row], request_id: str, most_bytes: int) -> bool:
    """Whether the rows have more than `most_bytes` of the turns that a request's question follows.

    Rows of other branches, and of turns that others took the place of, do not count.
    """
    sizes: Counter[str] = Counter()
    places: list[_Place] = []
    for row_id, fields in rows:
        sizes[fields[b"id"].decode()] += sum(map(len, fields.values()))
        if b"asked" in fields or b"erased" in fields:
            places.append(_place(row_id, fields))
    if all(place.request_id != request_id for place in places):
        return False
    path = path_of(sorted(places), request_id)
    return sum(sizes[place.request_id] for place in path[:-1]) > most_bytes


def _place(row_id: bytes, fields: dict[bytes, bytes]) -> _Place:
    erased_row = fields.get(b"erased")
    links = Links.decode(fields.get(b"links"))
    row = Cursor.parse(erased_row or row_id)
    return _Place(row, fields[b"id"].decode(), links, erased_row is not None)


def _turn(request_id: str, row: Cursor, asked: dict[bytes, bytes], answer: Row | None) -> Turn:
    messages = msgspec.json.decode(asked[b"asked"], type=Messages)
    links = Links.decode(asked.get(b"links"))
    size = sum(map(len, asked.values()))
    if answer is None:
        return Turn(request_id, messages, links=links, row=row, size_bytes=size)
    answer_row, answered = Cursor.parse(answer[0]), answer[1]
    size += sum(map(len, answered.values()))
    text = msgspec.json.decode(answered[b"answered"], type=str)
    status = cast("Terminal", answered.get(b"status", b"completed").decode())
    if status == "cancelled" and text == STOPPED:
        text = ""
    called = msgspec.json.decode(answered.get(b"called", b"{}"), type=TurnCalls)
    calls = _fold_calls(request_id, called.calls)
    return Turn(
        request_id,
        messages,
        text,
        status,
        calls,
        called.reasoning,
        links,
        row,
        answer_row=answer_row,
        size_bytes=size,
    )


def _fold_calls(request_id: str, pieces: Messages) -> Messages:
    answer = Answer()
    for piece in pieces:
        answer.feed(Entry(START, "tool_call", data=piece))
    return named_calls(request_id, answer)


def named_calls(request_id: str, answer: Answer) -> Messages:
    """The calls, each with the id that the wires use and that the call's outcome will name."""
    calls: Messages = []
    known: set[str | None] = {None, ""}
    for index, call in sorted(answer.tool_calls.items()):
        call_id = made_call_id(request_id, index) if call["id"] in known else call["id"]
        known.add(call_id)
        calls.append(call | {"id": call_id})
    return calls


def remember(turns: list[Turn], request_id: str) -> list[Messages]:
    """The messages on the path of this request for its prompt, oldest first.

    Each item is a question with its answer, because one makes no sense without the other. A turn
    with an empty answer is left out: strict models refuse an empty answer, and a question without
    an answer. For the same reason, a tool call is included only together with its outcome.
    """
    own = [turn for turn in turns if turn.request_id == request_id]
    exchanges: list[Messages] = []
    for turn in path_of(turns, request_id):
        messages = [] if turn.request_id == request_id else _exchange(turn)
        if messages and exchanges and _is_outcome(messages[0]):
            exchanges[-1] += messages
        elif messages:
            exchanges.append(messages)
    outcomes = [message for turn in own for message in takewhile(_is_outcome, turn.asked)]
    paired = [_pair_calls(messages, []) for messages in exchanges[:-1]]
    paired += [_pair_calls(messages, outcomes) for messages in exchanges[-1:]]
    return [messages for messages in paired if messages and messages[-1]["role"] == "assistant"]


def _exchange(turn: Turn) -> Messages:
    text = turn.answered or ""
    if turn.status == "cancelled":
        text = f"{text}\n\n{STOPPED}" if text else STOPPED
    if not text and not turn.calls:
        return []
    answer: dict[str, Any] = {"role": "assistant", "content": text or None}
    if turn.calls:
        answer["tool_calls"] = [_call(call) for call in turn.calls]
        answer |= {"reasoning_content": turn.reasoning} if turn.reasoning else {}
    return [*turn.asked, answer]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    kind = call.get("type") or "function"
    tool = tool_of_call(kind, call.get("x") or {}, call["name"], call["arguments"])
    return {"id": call["id"], "type": kind} | tool


def _is_outcome(message: dict[str, Any]) -> bool:
    return bool(message.get("role") == "tool")


def _pair_calls(messages: Messages, later: Messages) -> Messages:
    """The messages without those calls that have no outcome, and without outcomes of no call.

    `later` are the outcomes that follow the messages.
    """
    paired: Messages = []
    open_ids: set[str] = set()
    for number, given in enumerate(messages):
        if _is_outcome(given):
            paired += [given] if given.get("tool_call_id") in open_ids else []
            continue
        outcomes = [*takewhile(_is_outcome, _behind(messages, number))]
        outcomes += later if number + 1 + len(outcomes) == len(messages) else []
        open_ids = {str(outcome.get("tool_call_id")) for outcome in outcomes}
        calls = [call for call in given.get("tool_calls") or () if call.get("id") in open_ids]
        open_ids = {call["id"] for call in calls}
        message = given | {"tool_calls": calls}
        if not calls:
            message = {name: given[name] for name in given if name not in _OF_CALLS}
        if message.get("content") or calls or message.get("role") != "assistant":
            paired.append(message)
    return paired


def _behind(messages: Messages, number: int) -> Iterator[dict[str, Any]]:
    """The messages behind one of them. A slice would copy all of them for each message."""
    return (messages[at] for at in range(number + 1, len(messages)))
