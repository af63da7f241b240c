"""Logs as a worker may write them, for hypothesis."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tickertape.api.protocols.openai_responses.body import ResponsesBody
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.kinds import Opener, Output, Terminal

_TEXT = st.text(max_size=6).map(lambda text: text.encode("utf-8", "replace").decode())
_TOKEN = {"token": "é", "logprob": -1.0, "bytes": None}
_LOGPROBS = {"logprobs": {"content": [{**_TOKEN, "top_logprobs": [_TOKEN]}]}}
_FIELDS: dict[str, Any] = {
    "images": [{"image_url": {"url": "data:image/png;base64,AA"}}, "odd"],
    "annotations": [
        {"type": "url_citation", "url_citation": {"url": "https://example.org/", "title": 1}},
        None,
    ],
    "reasoning_details": [{"type": "reasoning.text", "text": "a", "index": 0}],
    "other": None,
}


@dataclass(frozen=True)
class Piece:
    """An output entry that is not yet in a log."""

    kind: Output
    text: str = ""
    data: dict[str, Any] | None = None
    x: dict[str, Any] | None = None


@dataclass(frozen=True)
class Attempt:
    """The output of one attempt; `opener` is the next attempt's opener after output."""

    pieces: list[Piece]
    opener: Opener


# Values that an upstream may send in place of OpenAI's.
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["", "é"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["token", "logprob", "bytes", "top_logprobs"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_odd_logprobs = st.builds(
    lambda name, tokens: {"logprobs": {name: tokens}},
    st.sampled_from(["content", "refusal"]),
    _json | st.lists(_json, max_size=3),
)
_said = st.builds(
    Piece,
    kind=st.sampled_from(["delta", "delta", "delta", "reasoning", "refusal"]),
    text=_TEXT.filter(bool),
    x=st.sampled_from([None, None, _LOGPROBS, _FIELDS]) | _odd_logprobs,
)
# An image, or the probability of a token without text.
_shown = st.builds(
    Piece, kind=st.just("delta"), x=st.sampled_from([_LOGPROBS, _FIELDS, _LOGPROBS | _FIELDS])
)
_called = st.builds(
    lambda index, call_id, name, arguments, x: Piece(
        "tool_call",
        data={
            "index": index,
            **({"id": call_id.format(index)} if call_id else {}),
            **({"name": name} if name else {}),
            **({"arguments": arguments} if arguments is not None else {}),
            **({"x": x} if x else {}),
        },
    ),
    st.integers(0, 2),
    # Some upstreams send all calls of an answer with the same id.
    st.sampled_from([None, "call_{}", "same"]),
    st.sampled_from(["", "look", "listen"]),
    st.sampled_from([None, "", "{}", '{"a":', "1}", "\u2028"]),
    st.sampled_from([None, _FIELDS, {"function": {"a": 1}, "custom": 1}]),
)
# What a function adds. A result may belong to a call that readers of one attempt do not know.
_given = st.builds(
    lambda index, result, failed: Piece(
        "tool_result",
        data={"index": index, "id": f"call_{index}", "result": result} | failed,
    ),
    st.integers(0, 2),
    st.sampled_from(["", "\u2028", {"a": [1]}, {"__proto__": 1}, 0]),
    st.sampled_from([{}, {"is_error": True}]),
) | st.builds(
    lambda part_id, value: Piece("data", data={"name": "chart", **part_id, "value": value}),
    st.sampled_from([{}, {"id": "1"}]),
    st.sampled_from(["", "\u2028", {"a": [1]}, {"__proto__": 1}, 0]),
)
_pieces = st.lists(st.one_of(_said, _said, _called, _shown, _given), max_size=6)
_odd_usage = st.dictionaries(
    st.sampled_from(
        ["prompt_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details"]
    ),
    _json,
)
_ends = st.sampled_from(
    [
        None,
        ("completed", {"finish_reason": "stop", "usage": None}),
        ("completed", {"finish_reason": "length", "usage": {"prompt_tokens": 1}}),
        ("completed", {"finish_reason": "tool_calls"}),
        ("failed", {"code": "upstream_error", "message": "No.", "retryable": True}),
        ("cancelled", {}),
    ]
) | st.builds(lambda usage: ("completed", {"finish_reason": "x", "usage": usage}), _odd_usage)
_heads = st.sampled_from(
    [
        {"v": 1, **model, "echo": {"response": body.echoed()}}
        for body in (ResponsesBody(input="hi"), ResponsesBody(input="hi", background=True))
        for model in ({}, {"model": "m"})
    ]
)


def logs(openers: tuple[str, ...]) -> st.SearchStrategy[list[Entry]]:
    """Logs in which an attempt that follows output begins with one of these openers."""
    attempt = st.builds(Attempt, _pieces, st.sampled_from(openers))
    return st.builds(_log, _heads, st.lists(attempt, max_size=4), _ends)


def _log(
    head: dict[str, Any], attempts: list[Attempt], end: tuple[Terminal, dict[str, Any]] | None
) -> list[Entry]:
    entries = [Entry(Cursor(1_767_225_600_000, 0), "queued", data=head)]
    has_output = False
    opener: Opener = "started"
    for attempt in attempts:
        last = entries[-1].cursor
        cursor = Cursor(last.attempt + 1000, 0)
        kind = opener if has_output else "started"
        opening = {"v": 1, "prev": str(last), "n": 1, "model": "m"}
        entries.append(Entry(cursor, kind, data=opening))
        for piece in attempt.pieces:
            cursor = cursor.next()
            entries.append(Entry(cursor, piece.kind, piece.text, piece.data or {}, piece.x))
        has_output = bool(attempt.pieces) or (has_output and kind == "resumed")
        opener = attempt.opener
    if end is not None:
        entries.append(Entry(entries[-1].cursor.next(), end[0], data=end[1]))
    return entries
