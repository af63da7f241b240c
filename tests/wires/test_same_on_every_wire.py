"""For any log, all wires show the same text, or report that they cannot."""

import json
from collections.abc import Callable

from hypothesis import assume, given

from tests.wires import folding
from tests.wires.folding import Heard
from tests.wires.logs import logs
from tests.wires.recorded import DIALECTS, REQUEST_ID, rendered, response_object
from tickertape.api.protocols.numbered_events import count_events, skip_events
from tickertape.api.protocols.openai_responses import wire as responses
from tickertape.broker.codec import Entry
from tickertape.broker.fold import fold
from tickertape.broker.kinds import OUTPUT

READINGS: dict[str, Callable[[bytes], Heard]] = {
    "native": folding.native,
    "text": folding.text,
    "chat_completions": folding.chat_completions,
    "responses": folding.responses,
    "ui_message": folding.ui_message,
    "agui": folding.agui,
}
CANNOT_REWIND = ("chat_completions", "responses", "ui_message")


def heard(name: str, entries: list[Entry]) -> Heard:
    return READINGS[name](b"".join(rendered(DIALECTS[name], entries).frames))


def discards(entries: list[Entry], hidden: set[str]) -> bool:
    """Whether this log discards output of other kinds than those."""
    has_output = False
    for entry in entries:
        if entry.kind == "reset" and has_output:
            return True
        has_output = has_output or (entry.kind in OUTPUT and entry.kind not in hidden)
    return False


@given(entries=logs(("resumed",)))
def test_a_log_that_discards_no_output_has_the_same_text_on_every_wire(
    entries: list[Entry],
) -> None:
    text = "".join(fold(entries).text)
    for name in READINGS:
        result = heard(name, entries)
        assert result.text == text, name
        if name != "text":
            assert result.is_over == entries[-1].is_terminal, name
        if name in CANNOT_REWIND:
            ended_badly = {"failed", "cancelled"} if name != "ui_message" else {"failed"}
            assert result.is_error == (entries[-1].kind in ended_badly), name


@given(entries=logs(("resumed", "reset", "reset")))
def test_a_log_that_discards_output_is_an_error_on_wires_that_cannot_retract(
    entries: list[Entry],
) -> None:
    # OpenAI's protocols have no place for what functions add, and the AI SDK none for their
    # results without a call.
    hidden = {"ui_message": {"tool_result"}}
    names = [
        name
        for name in CANNOT_REWIND
        if discards(entries, hidden.get(name, {"tool_result", "data"}))
    ]
    assume(names)
    for name in names:
        result = heard(name, entries)
        assert result.is_over, name
        assert result.is_error, name


@given(entries=logs(("resumed", "reset", "reset")))
def test_raw_text_is_cut_where_text_is_discarded(entries: list[Entry]) -> None:
    rendering = rendered(DIALECTS["text"], entries)
    sent = b"".join(rendering.frames).decode()
    if not rendering.is_cut:
        assert sent == "".join(fold(entries).text)
    first_reset = next((n for n, entry in enumerate(entries) if entry.kind == "reset"), None)
    has_text = any(entry.text for entry in entries[:first_reset] if entry.kind == "delta")
    if first_reset is not None and has_text:
        assert rendering.is_cut
        assert sent == "".join(e.text for e in entries[:first_reset] if e.kind == "delta")


@given(entries=logs(("resumed", "reset")))
def test_wires_that_take_text_back_and_polled_objects_show_the_final_text(
    entries: list[Entry],
) -> None:
    expected = "".join(fold(entries).text)
    assert heard("native", entries).text == expected
    assert heard("agui", entries).text == expected
    assert folding.text_of(response_object(entries)) == expected


@given(entries=logs(("resumed", "reset")))
def test_a_replay_equals_the_live_stream_byte_by_byte(entries: list[Entry]) -> None:
    for name, dialect in DIALECTS.items():
        first, again = (rendered(dialect, entries) for _ in range(2))
        assert list(first.frames) == list(again.frames), name
        # Each prefix of the live stream is a prefix of the replay.
        half = rendered(dialect, entries[: len(entries) // 2])
        assert list(first.frames)[: len(half.frames)] == list(half.frames), name


@given(entries=logs(("resumed", "reset")))
def test_a_stream_of_responses_resumes_after_every_event(entries: list[Entry]) -> None:
    frames = rendered(responses.dialect(REQUEST_ID), entries).frames
    whole = b"".join(frames)
    numbers = [json.loads(event)["sequence_number"] for event in folding.events(whole)]
    assert numbers == list(range(len(numbers)))
    parts = [event + b"\n\n" for event in whole.split(b"\n\n")[:-1]]
    for number in numbers:
        following = skip_events(frames, number + 1)
        assert following is not None
        rest = frames.between(following.position, len(frames))
        assert following.rest + rest == b"".join(parts[number + 1 :])
    assert count_events(frames) == len(numbers)
    assert skip_events(frames, len(numbers) + 1) is None


@given(entries=logs(("resumed",)))
def test_an_opening_chunk_without_text_is_not_output(entries: list[Entry]) -> None:
    before = [entry for entry in entries if entry.kind not in OUTPUT and not entry.is_terminal]
    result = b"".join(rendered(DIALECTS["chat_completions"], before).frames)
    assert result == b""
