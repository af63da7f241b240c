"""Pure: the turns of a conversation, from their rows in Redis to what a model is given of them.

A turn has one row for the question and, once its request has ended with something to remember, one
for the answer. `answered` is JSON text in every version, so that processes of the version before,
which know no other field, read the same conversation.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, cast

import msgspec

from tickertape.broker.codec import START, Cursor, Entry, made_call_id
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import Terminal
from tickertape.broker.provider_fields import tool_of_call

# Stands behind the text of an answer that was stopped, so that the model knows that it was cut off.
# cancel.lua remembers a stop before the first word by this text alone.
STOPPED = "[stopped]"

# What an assistant's message has beside its text only for the calls.
_OF_CALLS = ("tool_calls", "reasoning_content")

Messages = list[dict[str, Any]]
Row = tuple[bytes, dict[bytes, bytes]]


@dataclass(frozen=True, kw_only=True)
class Links:
    """How the messages of a turn are called elsewhere, and which turn it takes the place of.

    `message_id` is the client's id of the question, `answer_id` its id of the answer where that is
    not the request's own. `replaces` is the row of the first question that this turn takes the
    place of: what was asked there and after it is not part of the conversation any more.
    """

    message_id: str | None = None
    answer_id: str | None = None
    replaces: Cursor | None = None

    def encode(self) -> bytes:
        """The links as a row has them: JSON, empty when there are none."""
        fields = {"message_id": self.message_id, "answer_id": self.answer_id}
        if self.replaces is not None:
            fields["replaces"] = str(self.replaces)
        given = {name: value for name, value in fields.items() if value is not None}
        return msgspec.json.encode(given) if given else b""

    @classmethod
    def decode(cls, stored: bytes | None) -> "Links":
        """Read what `encode` made."""
        fields = msgspec.json.decode(stored, type=dict[str, str]) if stored else {}
        replaces = fields.get("replaces")
        return cls(
            message_id=fields.get("message_id"),
            answer_id=fields.get("answer_id"),
            replaces=Cursor.parse(replaces) if replaces else None,
        )


class TurnCalls(msgspec.Struct, frozen=True):
    """What a row has of an answer that called tools: the pieces of the calls, and what led to them.

    Some models refuse their calls without the reasoning that led to them.
    """

    calls: Messages = []
    reasoning: str = ""


@dataclass(frozen=True)
class Turn:
    """One request of a conversation: the caller's messages, and what was said until it ended.

    `status` is how it ended, and None until then; it stays None for one that failed, or was ended
    by a process of the version before, with nothing to remember. `answered` is the text (that of a
    refusal, too), None as long as there is none. `calls` are the tools that a completed answer
    called, with the `reasoning` that led to them. `row` is the place of the question in the stream.
    """

    request_id: str
    asked: Messages
    answered: str | None = None
    status: Terminal | None = None
    calls: Messages = field(default_factory=list)
    reasoning: str = ""
    links: Links = field(default_factory=Links)
    row: Cursor = field(default=START, compare=False)


def read_turns(rows: Iterable[Row]) -> list[Turn]:
    """The turns of the rows, in the order in which they were asked."""
    asked: dict[str, tuple[Cursor, dict[bytes, bytes]]] = {}
    answered: dict[str, dict[bytes, bytes]] = {}
    for row_id, fields in rows:
        request_id = fields[b"id"].decode()
        if b"asked" in fields:
            asked[request_id] = Cursor.parse(row_id), fields
        else:
            answered[request_id] = fields
    return [
        _turn(request_id, row, fields, answered.get(request_id))
        for request_id, (row, fields) in asked.items()
    ]


def _turn(
    request_id: str, row: Cursor, asked: dict[bytes, bytes], answered: dict[bytes, bytes] | None
) -> Turn:
    messages = msgspec.json.decode(asked[b"asked"], type=Messages)
    links = Links.decode(asked.get(b"links"))
    if answered is None:
        return Turn(request_id, messages, links=links, row=row)
    text = msgspec.json.decode(answered[b"answered"], type=str)
    status = cast("Terminal", answered.get(b"status", b"completed").decode())
    if status == "cancelled" and text == STOPPED:
        text = ""
    called = msgspec.json.decode(answered.get(b"called", b"{}"), type=TurnCalls)
    calls = _fold_calls(request_id, called.calls)
    return Turn(request_id, messages, text, status, calls, called.reasoning, links, row)


def _fold_calls(request_id: str, pieces: Messages) -> Messages:
    """The calls, each with the id by which its outcome will name it: that of the wires."""
    answer = Answer()
    for piece in pieces:
        answer.feed(Entry(START, "tool_call", data=piece))
    calls: Messages = []
    for index, call in sorted(answer.tool_calls.items()):
        is_known = call["id"] in [None, "", *(other["id"] for other in calls)]
        calls.append(call | {"id": made_call_id(request_id, index) if is_known else call["id"]})
    return calls


def drop_replaced(turns: Iterable[Turn]) -> list[Turn]:
    """The turns that are part of the conversation now: without those that others took the place of.

    A row is compared and not looked up, since the one that is named may have been erased.
    """
    kept: list[Turn] = []
    for turn in turns:
        replaces = turn.links.replaces
        if replaces is not None:
            kept = [other for other in kept if other.row < replaces]
        kept.append(turn)
    return kept


def remember(turns: list[Turn], request_id: str) -> list[Messages]:
    """What a request is given of the turns that were asked before it, oldest first.

    Each item is a question with its answer, since neither makes sense without the other. A turn
    without words is left out: strict models refuse an empty answer, and a question without one. For
    the same reason a tool call is given together with its outcome or not at all.
    """
    line = [*takewhile(lambda turn: turn.request_id != request_id, turns)]
    own = turns[len(line) : len(line) + 1]
    exchanges: list[Messages] = []
    for turn in drop_replaced([*line, *own]):
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
    said: dict[str, Any] = {"role": "assistant", "content": text or None}
    if turn.calls:
        said["tool_calls"] = [_call(call) for call in turn.calls]
        said |= {"reasoning_content": turn.reasoning} if turn.reasoning else {}
    return [*turn.asked, said]


def _call(call: dict[str, Any]) -> dict[str, Any]:
    kind = call.get("type") or "function"
    tool = tool_of_call(kind, call.get("x") or {}, call["name"], call["arguments"])
    return {"id": call["id"], "type": kind} | tool


def _is_outcome(message: dict[str, Any]) -> bool:
    return bool(message.get("role") == "tool")


def _pair_calls(messages: Messages, later: Messages) -> Messages:
    """The messages without calls that have no outcome and outcomes that have no call.

    `later` are the outcomes that follow the messages.
    """
    paired: Messages = []
    open_ids: set[str] = set()
    for number, given in enumerate(messages, start=1):
        if _is_outcome(given):
            paired += [given] if given.get("tool_call_id") in open_ids else []
            continue
        outcomes = [*takewhile(_is_outcome, messages[number:])]
        outcomes += later if number + len(outcomes) == len(messages) else []
        open_ids = {str(outcome.get("tool_call_id")) for outcome in outcomes}
        calls = [call for call in given.get("tool_calls") or () if call.get("id") in open_ids]
        open_ids = {call["id"] for call in calls}
        message = given | {"tool_calls": calls}
        if not calls:
            message = {name: given[name] for name in given if name not in _OF_CALLS}
        if message.get("content") or calls or message.get("role") != "assistant":
            paired.append(message)
    return paired
