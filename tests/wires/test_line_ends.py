"""Clients that split lines as `str.splitlines` does: no event may contain its other line ends."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.recorded import DIALECTS, rendered
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.native.wire import NativeWire
from tickertape.api.protocols.openai_responses.body import ResponsesBody
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.kinds import Output, Terminal

# The line ends of str.splitlines except CR and LF. JSON always escapes the first five.
LINE_ENDS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
SAID = f"a{LINE_ENDS}b — 世界 Â¨"
EVENT_WIRES = ("native", "chat_completions", "responses", "ui_message", "agui")
QUEUED = {
    "v": 1,
    "model": SAID,
    "metadata": {SAID: SAID},
    "echo": {
        "response": ResponsesBody(input="hi", instructions=SAID).echoed(),
        "message_id": SAID,
        "threadId": SAID,
    },
}
OUTPUT: list[tuple[Output, str, dict[str, Any], dict[str, Any] | None]] = [
    ("reasoning", SAID, {}, None),
    ("delta", SAID, {}, None),
    ("delta", SAID, {}, {"logprobs": {"content": [{"token": SAID, "logprob": -1.0}]}}),
    ("refusal", SAID, {}, None),
    ("tool_call", "", {"index": 0, "id": "c", "name": SAID, "arguments": f'{{"k":"{SAID}'}, None),
    ("tool_call", "", {"index": 0, "arguments": f'{SAID}"}}'}, None),
]
ENDS: list[tuple[Terminal, dict[str, Any]]] = [
    ("completed", {"finish_reason": SAID, "usage": {SAID: 1}}),
    ("failed", {"code": "upstream_error", "message": SAID}),
    ("cancelled", {}),
]


def log(kind: Terminal, end: dict[str, Any]) -> list[Entry]:
    return [
        Entry(Cursor(1000, 0), "queued", data=QUEUED),
        Entry(Cursor(2000, 0), "started", data={"v": 1, "prev": "1000-0", "n": 1, "model": SAID}),
        *(
            Entry(Cursor(2000, number), name, text, data, x)
            for number, (name, text, data, x) in enumerate(OUTPUT, 1)
        ),
        Entry(Cursor(2000, 99), kind, data=end),
    ]


def texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from texts_in(item)
        case dict():
            for item in value.values():
                yield from texts_in(item)


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end[0])
@pytest.mark.parametrize("name", EVENT_WIRES)
def test_a_client_that_splits_lines_as_python_does_reads_every_event_of_every_wire(
    name: str, end: tuple[Terminal, dict[str, Any]]
) -> None:
    stream = b"".join(rendered(DIALECTS[name], log(*end)).frames).decode()
    assert stream.splitlines() == stream.split("\n")[:-1]
    heard = [
        text
        for line in stream.splitlines()
        if line.startswith("data: {")
        for text in texts_in(json.loads(line.removeprefix("data: ")))
    ]
    assert SAID in heard


def test_a_client_that_splits_lines_as_python_does_reads_notices_and_snapshots() -> None:
    wire = NativeWire("r")
    frames = wire.notice("waiting", {"reason": SAID}) + wire.snapshot(Cursor(1, 2), {"text": SAID})
    assert frames.decode().splitlines() == frames.decode().split("\n")[:-1]


@given(st.text(st.sampled_from([*LINE_ENDS, *'\\"\n\0aÂâ¨\xa9\u2027\u202a世'])))
def test_a_text_is_unchanged_after_its_line_ends_were_escaped(text: str) -> None:
    said = encode_json({text: text}).decode()
    assert json.loads(said) == {text: text}
    assert len(said.splitlines()) == 1
