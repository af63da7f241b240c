"""What a log means: one rule for every view of a request."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.fold import Answer, fold
from tickertape.broker.kinds import EntryKind, Opener

AT = Cursor(1, 0)


def entry(kind: EntryKind, text: str = "", **data: Any) -> Entry:
    return Entry(AT, kind, text, data)


def test_nothing_was_said_before_the_first_attempt() -> None:
    answer = fold([entry("queued", v=1)])
    assert answer.snapshot() == {
        "text": "",
        "reasoning": "",
        "refusal": "",
        "tool_calls": [],
        "status": "queued",
        "n": 0,
    }
    assert answer.last == entry("queued", v=1)


def test_output_of_each_kind_is_kept_apart_and_in_order() -> None:
    answer = fold(
        [
            entry("queued"),
            entry("started", n=1, model="m"),
            entry("reasoning", "hm "),
            entry("delta", "Hel"),
            entry("refusal", "no"),
            entry("reasoning", "hm"),
            entry("delta", "lo"),
        ]
    )
    assert (answer.snapshot()["text"], answer.model) == ("Hello", "m")
    assert (answer.snapshot()["reasoning"], answer.snapshot()["refusal"]) == ("hm hm", "no")
    assert (answer.status, answer.n) == ("running", 1)


def test_results_of_tools_and_data_are_kept_in_order_and_data_with_an_id_is_replaced() -> None:
    first: dict[str, Any] = {"index": 0, "id": "a", "result": 1}
    second: dict[str, Any] = {"index": 1, "id": "b", "result": None}
    said = [
        entry("tool_result", **first),
        entry("data", name="chart", id="1", value=1),
        entry("data", name="chart", value=2),
        entry("data", name="table", id="1", value=3),
        entry("data", name="chart", id="1", value=4),
        entry("tool_result", **second),
    ]
    snapshot = fold(said).snapshot()
    assert snapshot["tool_results"] == [first, second]
    assert [(part["name"], part["value"]) for part in snapshot["data"]] == [
        ("chart", 4), ("chart", 2), ("table", 3)
    ]  # fmt: skip
    assert fold([*said, entry("reset", n=2)]).snapshot().keys().isdisjoint({"tool_results", "data"})


def test_started_and_reset_clear_the_output_and_resumed_keeps_it() -> None:
    def said(opener: Opener) -> dict[str, Any]:
        return fold(
            [
                entry("started", n=1),
                entry("delta", "a"),
                entry("reasoning", "b"),
                entry("refusal", "c"),
                entry("tool_call", index=0, name="d"),
                entry(opener, n=2),
            ]
        ).snapshot()

    for opener in ("started", "reset"):
        cleared = said(opener)
        assert (cleared["text"], cleared["reasoning"], cleared["refusal"]) == ("", "", "")
        assert cleared["tool_calls"] == []
        assert cleared["n"] == 2
    kept = said("resumed")
    assert (kept["text"], kept["reasoning"], kept["refusal"]) == ("a", "b", "c")
    assert [call["name"] for call in kept["tool_calls"]] == ["d"]
    assert kept["n"] == 2


def test_an_opener_without_a_model_keeps_the_one_before() -> None:
    assert fold([entry("started", n=1, model="m"), entry("resumed", n=2)]).model == "m"


def test_pieces_of_tool_calls_are_put_together_by_their_index() -> None:
    calls = fold(
        [
            entry("started", n=1),
            entry("tool_call", index=1, id="b", name="now", arguments=""),
            entry("tool_call", index=0, id="a", name="look"),
            entry("tool_call", index=0, arguments='{"q":'),
            entry("tool_call", index=0, id=None, name=None, arguments="1}"),
        ]
    ).snapshot()["tool_calls"]
    assert calls == [
        {"index": 0, "id": "a", "name": "look", "arguments": '{"q":1}'},
        {"index": 1, "id": "b", "name": "now", "arguments": ""},
    ]


def test_what_names_a_tool_call_is_set_once_and_nothing_of_it_is_appended() -> None:
    calls = fold(
        [
            entry("tool_call", index=0, id="a", type="custom", name="sh", arguments="l"),
            entry("tool_call", index=0, id="b", name="sh", arguments="s", x={"n": {"a": 1}}),
            entry("tool_call", index=0, x={"n": {"b": 2}}),
        ]
    ).snapshot()["tool_calls"]
    assert calls == [
        {
            "index": 0,
            "id": "a",
            "name": "sh",
            "arguments": "ls",
            "type": "custom",
            "x": {"n": {"a": 1, "b": 2}},
        }
    ]


def test_provider_fields_are_cleared_with_the_output_they_came_with() -> None:
    shown = Entry(AT, "delta", "", x={"images": [1], "logprobs": {"content": []}})
    answer = fold([entry("started", n=1), entry("delta", "a"), shown, shown])
    assert answer.snapshot()["x"] == {"images": [1, 1]}
    assert answer.text == ["a"]
    assert shown.x == {"images": [1], "logprobs": {"content": []}}
    answer.feed(entry("reset", n=2))
    assert "x" not in answer.snapshot()


def test_a_terminal_ends_the_answer_and_keeps_its_text() -> None:
    for kind in ("completed", "failed", "cancelled"):
        answer = fold([entry("started", n=1), entry("delta", "a"), entry(kind, code="why")])
        assert (answer.status, answer.end, answer.snapshot()["text"]) == (
            kind,
            {"code": "why"},
            "a",
        )


entries = st.one_of(
    st.builds(entry, st.sampled_from(["delta", "reasoning", "refusal"]), st.text(max_size=4)),
    st.builds(
        lambda kind, n: entry(kind, n=n),
        st.sampled_from(["started", "reset", "resumed"]),
        st.integers(1, 9),
    ),
    st.builds(
        lambda index, piece: entry("tool_call", index=index, arguments=piece),
        st.integers(0, 2),
        st.text(max_size=4),
    ),
    st.builds(entry, st.sampled_from(["queued", "completed", "failed", "cancelled"])),
)


@given(log=st.lists(entries), at=st.integers(0, 20))
def test_a_log_read_in_two_parts_means_the_same_as_read_at_once(log: list[Entry], at: int) -> None:
    answer = Answer()
    for part in (log[:at], log[at:]):
        for one in part:
            answer.feed(one)
    assert vars(answer) == vars(fold(log))
    text = ""
    for one in log:
        if one.kind in {"started", "reset"}:
            text = ""
        elif one.kind == "delta":
            text += one.text
    assert answer.snapshot()["text"] == text
