"""Work on a log of n entries takes time in proportion to n, however its entries were made."""

import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

from tickertape.api.protocols.openai_chat.wire import completion
from tickertape.api.protocols.openai_responses.wire import ResponseFold
from tickertape.broker.codec import Cursor, Entry, encode_data
from tickertape.broker.fold import fold
from tickertape.broker.provider_fields import merge
from tickertape.broker.segments import SegmentMaker, entries_of
from tickertape.broker.turns import Turn, _fold_calls, remember
from tickertape.client.events import Event
from tickertape.client.fold import Folded
from tickertape.worker.upstream.chunk_json import Function, ToolCall
from tickertape.worker.upstream.surrogates import SurrogateMender
from tickertape.worker.upstream.tool_calls import CallReader

# The pieces of a large file that a model writes by one call.
TEXT = "x" * 50


def pieces(count: int) -> list[dict[str, Any]]:
    first = {"index": 0, "id": "c", "name": "write", "arguments": ""}
    return [first, *({"index": 0, "arguments": TEXT} for _ in range(count))]


def calls(count: int) -> list[dict[str, Any]]:
    return [{"index": n, "id": f"c{n}", "name": "look", "arguments": "{}"} for n in range(count)]


def log_of(output: list[dict[str, Any]]) -> list[Entry]:
    made = [Entry(Cursor(1, n), "tool_call", data=piece) for n, piece in enumerate(output, 1)]
    return [Entry(Cursor(1, 0), "started", data={"n": 1}), *made]


def fold_response(entries: list[Entry]) -> None:
    response = ResponseFold("r")
    for entry in entries:
        response.feed(entry)
    response.object()


def compact(entries: list[Entry]) -> None:
    maker = SegmentMaker()
    for entry in entries[1:]:
        maker.add(entry.cursor, encode_data("tool_call", entry.data))
    for segment in maker.finish():
        list(entries_of(segment))


def merge_reasoning(count: int) -> None:
    x: dict[str, Any] = {}
    for _ in range(count):
        part = {"type": "reasoning.text", "index": 0, "text": TEXT}
        merge(x, {"reasoning_details": [part]})


def fold_reasoning(count: int) -> None:
    folded = Folded()
    for _ in range(count):
        folded.apply(Event("reasoning", {"text": TEXT}))
    assert len(folded.reasoning) == count * len(TEXT)


def read_calls(count: int) -> None:
    reader = CallReader("r", SurrogateMender())
    for n in range(count):
        reader.read(ToolCall(id=f"c{n}", function=Function(name="look", arguments="{}")))


def remember_messages(count: int) -> None:
    asked = [{"role": "user", "content": "hi"}] * count
    before = Turn("a", asked, "yes", "completed", row=Cursor(1, 0))
    remember([before, Turn("b", asked[:1], row=Cursor(2, 0))], "b")


WORK: dict[str, Callable[[int], object]] = {
    "the pieces of a call": lambda n: fold(log_of(pieces(n))).snapshot(),
    "many calls": lambda n: fold(log_of(calls(n))).snapshot(),
    "a completion": lambda n: completion("r", log_of(pieces(n))),
    "a response of one call": lambda n: fold_response(log_of(pieces(n))),
    "a response of many calls": lambda n: fold_response(log_of(calls(n))),
    "a compaction": lambda n: compact(log_of(pieces(n))),
    "the calls of a turn": lambda n: _fold_calls("r", calls(n)),
    "the reasoning of a message": merge_reasoning,
    "the reasoning of a client": fold_reasoning,
    "calls of an upstream": read_calls,
    "the messages of a turn": remember_messages,
}


def seconds_of(work: Callable[[int], object], count: int) -> float:
    took = []
    # A collection takes time for all objects of the test process.
    gc.disable()
    try:
        for _ in range(3):
            began_s = time.thread_time()
            work(count)
            took.append(time.thread_time() - began_s)
    finally:
        gc.enable()
    return min(took)


@pytest.mark.parametrize("name", WORK)
def test_four_times_the_entries_take_about_four_times_as_long(name: str) -> None:
    few, many = seconds_of(WORK[name], 4_000), seconds_of(WORK[name], 16_000)
    # Work on each pair of entries would take sixteen times as long.
    assert many < 9 * few + 0.02
