"""Pure: what is written of a request, and how a conversation is read from that."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from tickertape.broker.branches import drop_replaced, path_of, shown_parents
from tickertape.broker.codec import START, Cursor, Entry
from tickertape.broker.conversations import Conversation
from tickertape.broker.fold import fold
from tickertape.broker.summaries import Summary
from tickertape.broker.turns import Links, Turn, named_calls

Row: TypeAlias = dict[str, Any]
_NO_ROW = "0-0"
# A zero character in JSON, and not the text of its escape: that has a second backslash in front.
_ZERO = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")


@dataclass(frozen=True)
class Written:
    """The row of a request, and that of its conversation if it has one."""

    request: Row
    conversation: Row | None


def written(
    request_id: str,
    record: Mapping[bytes, bytes],
    log: list[Entry],
    conversation: Mapping[bytes, bytes],
    links: bytes,
) -> Written:
    """The rows of a request that has ended.

    `record` has the fields of the request, and `conversation` those of its conversation. A request
    without a conversation is kept as long as its caller said, and others as their conversation.
    """
    head = msgspec.json.decode(record[b"head"], type=dict[str, Any])
    answer = fold(log)
    key, ended_ms = record.get(b"conv", b"").decode(), int(record[b"ended"])
    keep_s = (conversation if key else record).get(b"keep")
    expires_ms = ended_ms + 1000 * int(keep_s) if keep_s else None
    text = "".join(answer.text) or "".join(answer.refusal) or None
    request = {
        "id": request_id,
        "principal": record[b"tenant"].decode(),
        "conversation_key": key,
        "place": record.get(b"asked", b"").decode() or _NO_ROW,
        "created_ms": int(record[b"created"]),
        "ended_ms": ended_ms,
        "state": record[b"state"].decode(),
        "model": answer.model,
        "wire": head.get("wire", ""),
        "asked": _json(_asked(record, log)),
        "links": links.decode(),
        "metadata": _json(head.get("metadata") or {}),
        "answered": text,
        "reasoning": "".join(answer.reasoning),
        "calls": _json(named_calls(request_id, answer)),
        "ending": _json(answer.end),
        "usage": _json(_usage(record)),
        "expires_ms": None if key else expires_ms,
    }
    return Written(_storable(request), _conversation(request, head, conversation, expires_ms))


def _asked(record: Mapping[bytes, bytes], log: list[Entry]) -> list[Any]:
    """The caller's messages: those that the conversation remembers, or all of the request."""
    if record.get(b"conv") and log and "messages" in log[0].data:
        return list(log[0].data["messages"])
    payload = msgspec.json.decode(record.get(b"payload", b"{}"), type=dict[str, Any])
    return list(payload.get("messages", []))


def _usage(record: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {
        name.decode().removeprefix("usage:"): msgspec.json.decode(value)
        for name, value in record.items()
        if name.startswith(b"usage:")
    }


def _conversation(
    request: Row, head: Mapping[str, Any], stored: Mapping[bytes, bytes], expires_ms: int | None
) -> Row | None:
    if not request["conversation_key"]:
        return None
    names = ("role", "model", "temperature", "variables")
    options = {name: head[name] for name in names if name in head}
    title = stored.get(b"title")
    return _storable(
        {
            "key": request["conversation_key"],
            "principal": request["principal"],
            "id": head.get("conversation_id", ""),
            "title": title.decode() if title else None,
            "title_of": stored.get(b"title_of", b"").decode(),
            "options": _json(options),
            "created_ms": int(stored.get(b"created", request["created_ms"])),
            "updated_ms": request["created_ms"],
            "expires_ms": expires_ms,
        }
    )


def _storable(row: Row) -> Row:
    """Pure: the row without zero characters, which no text in PostgreSQL may have."""
    return {
        name: value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value
        for name, value in row.items()
    }


def _json(value: object) -> str:
    return _ZERO.sub(r"\1\\ufffd", msgspec.json.encode(value).decode())


def turn_of(row: Mapping[str, Any]) -> Turn:
    """A request of a conversation as the memory of conversations has it."""
    has_answer = row["answered"] is not None or row["calls"] != "[]"
    is_remembered = has_answer or row["state"] == "cancelled"
    return Turn(
        request_id=row["id"],
        asked=msgspec.json.decode(row["asked"]),
        answered=(row["answered"] or "") if is_remembered else None,
        status=row["state"] if is_remembered else None,
        calls=msgspec.json.decode(row["calls"]),
        reasoning=row["reasoning"],
        links=Links.decode(row["links"].encode() or None),
        row=Cursor.parse(row["place"]) if row["place"] != _NO_ROW else START,
    )


def summary_of(row: Mapping[str, Any], turns: int) -> Summary:
    """A conversation of which no request is active."""
    return Summary(
        conversation_id=row["id"],
        title=row["title"],
        created_ms=row["created_ms"],
        updated_ms=row["updated_ms"],
        turns=turns,
        active_request_id=None,
        options=msgspec.json.decode(row["options"]),
    )


def conversation_of(row: Mapping[str, Any], requests: Sequence[Mapping[str, Any]]) -> Conversation:
    """The conversation of these rows, as one that Redis still has."""
    turns = sorted(map(turn_of, requests), key=lambda turn: turn.row)
    kept = drop_replaced(turns)
    path = path_of(turns, turns[-1].request_id) if turns else []
    return Conversation(kept, None, summary_of(row, len(kept)), shown_parents(turns), path)
