"""Chunks with a `message` or a `text` in place of a `delta`."""

import json
from typing import Any

import pytest

from tests.support.reading import read
from tests.support.script import Chunk, Cut, Done, Finish, Script, Text, payload_of
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}}


def message(text: str, **fields: Any) -> Chunk:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **fields}}
    return Chunk({"choices": [choice]})


def plain(text: str) -> Chunk:
    return Chunk({"choices": [{"index": 0, "text": text}]})


@pytest.mark.parametrize(
    ("script", "text"),
    [
        pytest.param([message("ha"), message("ha"), message("!")], "haha!", id="messages"),
        pytest.param([plain("ha"), plain("ha"), plain("!")], "haha!", id="texts"),
        pytest.param([message("whole")], "whole", id="one message"),
        # MiniMax ends with the whole message: hermes-browser-extension#11
        pytest.param([Text("wh"), Text("ole"), message("whole")], "whole", id="repeated"),
        pytest.param([Text("wh"), message("whole")], "whole", id="repeated with more"),
        pytest.param([Text(" whole "), message("whole")], " whole ", id="repeated and trimmed"),
        # Together sends both, and so does Perplexity, whose message grows.
        pytest.param(
            [Chunk({"choices": [{"index": 0, "text": t, "delta": {"content": t}}]}) for t in "ab"],
            "ab",
            id="text beside delta",
        ),
        pytest.param(
            [
                Chunk(
                    {"choices": [{"index": 0, "delta": {"content": t}, "message": {"content": m}}]}
                )
                for t, m in (("a", "a"), ("b", "ab"), ("", "ab"))
            ],
            "ab",
            id="message beside delta",
        ),
    ],
)
async def test_what_stands_in_message_or_text_instead_of_delta_is_read_once(
    script: Script, text: str
) -> None:
    found = await read([*script, Finish(), Done()])
    assert (found.text, found.error) == (text, None)


def test_a_message_behind_deltas_adds_only_what_they_had_not() -> None:
    repeated = message("Hi", reasoning_content="hm", refusal="no", tool_calls=[CALL])
    thought = Chunk({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]})
    reader = ChunkReader(Tally())
    steps = (thought, Text("Hi"), repeated, repeated)
    events = [json.dumps(payload_of(step, "m")).encode() for step in steps]
    pieces = [piece for event in events for piece in reader.read(event)]
    assert [(piece.kind, piece.data or piece.text) for piece in pieces] == [
        ("reasoning", "hm"),
        ("delta", "Hi"),
        ("refusal", "no"),
        ("tool_call", {"index": 0, "id": "c1", "name": "f", "arguments": '{"q":1}'}),
    ]


async def test_the_message_behind_a_finish_reason_does_not_take_it_back() -> None:
    found = await read([Text("whole"), Finish(), message("whole"), Cut()])
    assert (found.text, found.error, found.tally.finish_reason) == ("whole", None, "stop")
