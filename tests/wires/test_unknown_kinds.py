"""An entry of a later version is skipped on every wire and by every reader of whole logs."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.wires.logs import logs
from tests.wires.recorded import DIALECTS, REQUEST_ID, rendered, response_object
from tickertape.api.protocols.openai_chat import wire as chat_completions
from tickertape.broker.codec import Entry, encode_text
from tickertape.broker.fold import fold

_OPENERS = ("resumed", "reset")


def with_unknown(entries: list[Entry], places: set[int]) -> list[Entry]:
    """The log with an unknown entry behind each of these positions."""
    mixed: list[Entry] = []
    for position, entry in enumerate(entries):
        mixed.append(entry)
        if position in places:
            mixed.append(Entry(entry.cursor, "unknown", data={"new": 1}))
    return mixed


@given(entries=logs(_OPENERS), places=st.sets(st.integers(0, 20)))
def test_an_unknown_entry_has_a_position_and_no_byte_on_any_wire(
    entries: list[Entry], places: set[int]
) -> None:
    mixed = with_unknown(entries, places)
    for name, dialect in DIALECTS.items():
        expected, rendering = rendered(dialect, entries), rendered(dialect, mixed)
        assert b"".join(rendering.frames) == b"".join(expected.frames), name
        ends = rendering.is_over, rendering.is_cut
        assert ends == (expected.is_over, expected.is_cut), name
        if not rendering.is_over:
            assert len(rendering.frames) == len(mixed), name


@given(entries=logs(_OPENERS), places=st.sets(st.integers(0, 20)))
def test_an_unknown_entry_changes_no_object(entries: list[Entry], places: set[int]) -> None:
    mixed = with_unknown(entries, places)
    assert response_object(mixed) == response_object(entries)
    assert fold(mixed).snapshot() == fold(entries).snapshot()
    completion = chat_completions.completion
    assert completion(REQUEST_ID, mixed) == completion(REQUEST_ID, entries)


async def test_a_reader_resumes_behind_an_entry_of_a_later_version(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit()
    assert await worker.claim() == request_id
    await worker.append(encode_text("delta", "a"), b"vnew", encode_text("delta", "b"))
    unknown = (await worker.entries(request_id))[-2].cursor
    await worker.finish()
    whole = await api.client.get(f"/chat/{request_id}/stream")
    assert texts(whole.text) == ["a", "b"]
    assert str(unknown) not in whole.text
    after = {"Last-Event-ID": str(unknown)}
    rest = await api.client.get(f"/chat/{request_id}/stream", headers=after)
    assert texts(rest.text) == ["b"]
    assert "rewind" not in rest.text
    assert (await api.read(request_id))["text"] == "ab"


def texts(stream: str) -> list[str]:
    """The texts of the deltas of a native stream."""
    events = [event.split("\n") for event in stream.split("\n\n")]
    return [
        json.loads(lines[2].removeprefix("data: "))["text"]
        for lines in events
        if "event: delta" in lines
    ]
