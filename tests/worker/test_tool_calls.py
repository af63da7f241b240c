"""Calls of one answer are kept separate, whatever index and id an upstream sends."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickertape.worker.upstream.chunks import ChunkReader
from tickertape.worker.upstream.tally import Tally

REQUEST_ID = "r0_x"


def part(name: str | None = None, arguments: str | None = None, **fields: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    given = {key: value for key, value in function.items() if value is not None}
    return {**fields, **({"function": given} if given else {})}


def read(*deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The data of the entries that these lists of partial calls become, a chunk for each list."""
    reader = ChunkReader(Tally(), request_id=REQUEST_ID)
    pieces = []
    for calls in deltas:
        chunk = {"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}
        pieces += reader.read(json.dumps(chunk).encode())
    return [piece.data or {} for piece in [*pieces, *reader.close()]]


def whole(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Each call's id, name and arguments; checks what is promised of their entries."""
    calls: dict[int, dict[str, Any]] = {}
    for data in entries:
        if data["index"] not in calls:
            calls[data["index"]] = dict(data)
            assert data["id"]
        else:
            assert data.keys() <= {"index", "arguments", "x"}
            calls[data["index"]]["arguments"] += data.get("arguments", "")
    assert sorted(calls) == list(range(len(calls)))
    ids = [call["id"] for call in calls.values()]
    assert len(set(ids)) == len(ids)
    return [
        (call["id"], call.get("name", ""), call["arguments"]) for _, call in sorted(calls.items())
    ]


MADE_0, MADE_1 = (f"call_{REQUEST_ID}_{index}" for index in range(2))
F = ("f", '{"a":1}')
G = ("g", '{"b":2}')

CASES: dict[str, tuple[list[list[dict[str, Any]]], list[tuple[str, str, str]]]] = {
    # ollama#15457
    "whole parallel calls that share an index": (
        [[part(*F, index=0, id="a")], [part(*G, index=0, id="b")]],
        [("a", *F), ("b", *G)],
    ),
    "whole parallel calls that share an index and a chunk": (
        [[part(*F, index=0, id="a"), part(*F, index=0, id="b")]],
        [("a", *F), ("b", *F)],
    ),
    "parallel calls in parts that share an index, kept separate by their ids": (
        [
            [part("f", "", index=0, id="a")],
            [part("g", "", index=0, id="b")],
            [part(None, '{"a"', index=0, id="a")],
            [part(None, '{"b"', index=0, id="b")],
            [part(None, ":1}", index=0, id="a"), part(None, ":2}", index=0, id="b")],
        ],
        [("a", *F), ("b", *G)],
    ),
    "a shared index that is followed by one of its own": (
        [
            [part(*F, index=0, id="a")],
            [part(*G, index=0, id="b")],
            [part("h", "", index=1, id="c")],
            [part(None, "{}", index=1)],
        ],
        [("a", *F), ("b", *G), ("c", "h", "{}")],
    ),
    # Gemini sent parallel calls whole, with the index 0 and no id.
    "whole calls that share an index and have no id": (
        [[part(*F, index=0, id="")], [part(*F, index=0, id="")], [part(*G, index=0, id="")]],
        [(MADE_0, *F), (MADE_1, *F), (f"call_{REQUEST_ID}_2", *G)],
    ),
    # hermes-agent#8259
    "a name that each part repeats": (
        [
            [part("f", "", index=0, id="a")],
            [part("f", '{"a"', index=0, id="a")],
            [part("f", ":1}", index=0, id="a")],
            [part("f", "", index=0, id="a")],
        ],
        [("a", *F)],
    ),
    "a name that each part repeats, without an id": (
        [[part("f", "", index=0)], [part("f", '{"a"', index=0)], [part("f", ":1}", index=0)]],
        [(MADE_0, *F)],
    ),
    "a name that each part repeats, with an id that comes late": (
        [[part("f", "", index=0)], [part("f", '{"a":1}', index=0, id="a")]],
        [(MADE_0, *F)],
    ),
    # hermes-agent#5254
    "an id that is new in each part, without a name": (
        [
            [part("f", "", index=0, id="a")],
            [part("", '{"a"', index=0, id="b")],
            [part(None, ":1}", index=0, id="c")],
        ],
        [("a", *F)],
    ),
    "an id that is new in each part, without an index": (
        [[part("f", "", id="a")], [part("", '{"a"', id="b")], [part(None, ":1}", id="c")]],
        [("a", *F)],
    ),
    "the same id for calls of an answer": (
        [[part(*F, index=0, id="a")], [part(*G, index=1, id="a")]],
        [("a", *F), (MADE_1, *G)],
    ),
    "the same id and the same index for calls of an answer": (
        [[part(*F, index=0, id="a")], [part(*G, index=0, id="a")]],
        [("a", *F), (MADE_1, *G)],
    ),
    "a whole call that is sent again at the end": (
        [
            [part("f", "", index=0, id="a")],
            [part(None, '{"a":1}', index=0)],
            [part(*F, index=0, id="a")],
        ],
        [("a", *F)],
    ),
    # ollama#7881
    "no index, and an id for each call": (
        [[part(*F, id="a"), part(*G, id="b")]],
        [("a", *F), ("b", *G)],
    ),
    "no index, and parts that name their call by its id": (
        [
            [part("f", "", id="a"), part("g", "", id="b")],
            [part(None, '{"a":1}', id="a")],
            [part(None, '{"b":2}', id="b")],
        ],
        [("a", *F), ("b", *G)],
    ),
    "no index and no id": (
        [[part(*F)], [part("g", "{")], [part(None, '"b":2}')]],
        [(MADE_0, *F), (MADE_1, *G)],
    ),
    "no index, no id, and one function": (
        [[part(*F), part(*F)]],
        [(MADE_0, *F), (MADE_1, *F)],
    ),
    "an id alone, then the rest": (
        [[part(id="a")], [part("f", "")], [part(None, '{"a":1}')], [part(id="b")], [part(*G)]],
        [("a", *F), ("b", *G)],
    ),
    "an id alone at an index, then the rest": (
        [[part(index=0, id="a")], [part("f", index=0)], [part(None, '{"a":1}', index=0)]],
        [("a", *F)],
    ),
    "indexes that do not begin at 0": (
        [
            [part(*F, index=1, id="a")],
            [part("g", "", index=5, id="b")],
            [part(None, G[1], index=5)],
        ],
        [("a", *F), ("b", *G)],
    ),
    "a call without a name": (
        [[part(None, "{}", index=0, id="a")], [part(*G, index=1, id="b")]],
        [("a", "", "{}"), ("b", *G)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_calls_are_kept_separate(case: str) -> None:
    deltas, expected = CASES[case]
    assert whole(read(*deltas)) == expected


def test_a_call_is_written_when_its_name_is_known() -> None:
    entries = read(
        [part(index=0, id="a", extra_content={"s": 1})],
        [part(None, "{", index=0)],
        [part("f", None, index=0)],
        [part("f", "}", index=0)],
    )
    assert entries == [
        {"index": 0, "id": "a", "name": "f", "arguments": "{", "x": {"extra_content": {"s": 1}}},
        {"index": 0, "arguments": "}"},
    ]


def test_a_part_that_adds_nothing_makes_no_entry() -> None:
    entries = read([part("f", "", index=0, id="a")], [part("f", "", index=0, id="a")])
    assert entries == [{"index": 0, "id": "a", "name": "f", "arguments": ""}]


def test_a_custom_tool_has_its_type_in_its_first_entry() -> None:
    sh = {"name": "sh", "input": "ls"}
    entries = read(
        [{"index": 0, "id": "a", "custom": sh}], [{"index": 0, "custom": {"input": " -l"}}]
    )
    assert entries == [
        {"index": 0, "id": "a", "type": "custom", "name": "sh", "arguments": "ls"},
        {"index": 0, "arguments": " -l"},
    ]


@given(
    st.lists(
        st.lists(
            st.builds(
                part,
                st.sampled_from([None, "", "f", "g"]),
                st.sampled_from([None, "", "{", "}", '{"a":1}']),
                index=st.sampled_from([None, 0, 0, 1, 7]),
                id=st.sampled_from([None, "", "a", "b"]),
            ),
            max_size=3,
        ),
        max_size=8,
    )
)
def test_whatever_comes_each_call_has_one_index_and_one_id_and_no_argument_is_lost(
    deltas: list[list[dict[str, Any]]],
) -> None:
    calls = whole(read(*deltas))
    sent = "".join(
        call.get("function", {}).get("arguments", "") for calls in deltas for call in calls
    )
    all_arguments = "".join(arguments for _, _, arguments in calls)
    # Only a whole call that is sent a second time is left out.
    assert sorted(all_arguments.replace('{"a":1}', "")) == sorted(sent.replace('{"a":1}', ""))
