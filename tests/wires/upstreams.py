"""The log that a worker writes for an upstream's chunks, and that log on the wires."""

import json
from typing import Any

from tests.wires import folding
from tests.wires.recorded import DIALECTS, REQUEST_ID, rendered
from tickertape.api.protocols.openai_responses.body import ResponsesBody
from tickertape.broker.codec import Cursor, Entry, decode
from tickertape.worker.attempt import encoded
from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally


def log_of(*deltas: dict[str, Any]) -> list[Entry]:
    """The log of an answer whose upstream sends these deltas."""
    return log_of_choices(*({"delta": delta} for delta in deltas))


def log_of_choices(*choices: dict[str, Any]) -> list[Entry]:
    """The log of an answer whose upstream sends these choices, one in each chunk."""
    reader = ChunkReader(Tally(), request_id=REQUEST_ID)
    pieces = []
    for choice in choices:
        pieces += reader.read(json.dumps({"choices": [{"index": 0, **choice}]}).encode())
    ended = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
    pieces += [*reader.read(json.dumps(ended).encode()), *reader.close()]
    echo = {"response": ResponsesBody(input="hi").echoed()}
    entries = [
        Entry(Cursor(1000, 0), "queued", data={"v": 1, "model": "m", "echo": echo}),
        Entry(Cursor(2000, 0), "started", data={"v": 1, "prev": "1000-0", "n": 1, "model": "m"}),
    ]
    for seq, piece in enumerate(pieces, start=1):
        entries.append(decode(Cursor(2000, seq), encoded(piece)))
    end = Entry(entries[-1].cursor.next(), "completed", data={"finish_reason": "tool_calls"})
    return [*entries, end]


def streamed(wire: str, entries: list[Entry]) -> bytes:
    return b"".join(rendered(DIALECTS[wire], entries).frames)


def chunks(wire: str, entries: list[Entry]) -> list[dict[str, Any]]:
    found = folding.events(streamed(wire, entries))
    return [json.loads(event) for event in found if event != b"[DONE]"]
