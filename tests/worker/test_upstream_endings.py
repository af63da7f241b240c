"""Where an answer ends: what a finish_reason is worth, and what takes it back."""

import asyncio

import pytest

from tests.support.reading import Reading, read
from tests.support.script import (
    Chunk,
    Cut,
    Done,
    Error,
    Finish,
    Raw,
    Reset,
    Role,
    Script,
    Step,
    Text,
    Usage,
    Wait,
)
from tests.support.upstream import ScriptedUpstream
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import (
    Truncated,
    UpstreamError,
    UpstreamFault,
    UpstreamGarbage,
)


async def after_text(text: str, *script: Step) -> Reading:
    """The reading of a script whose Wait is over when the text was read: a reset could overtake."""
    gate = asyncio.Event()

    def release() -> None:
        if found.text == text:
            gate.set()

    found = Reading(on_text=release)
    async with ScriptedUpstream() as scripted, Upstream(scripted.base_url) as client:
        scripted.enqueue([Wait(gate) if isinstance(step, Wait) else step for step in script])
        await found.run(client)
    return found


GATE = Wait(asyncio.Event())


@pytest.mark.parametrize("ending", [[Cut()], [Reset()], [Error()], []])
async def test_nothing_after_the_last_finish_reason_makes_it_a_failure(ending: Script) -> None:
    found = await after_text("all", Text("all"), Finish(), GATE, *ending)
    assert (found.text, found.error, found.tally.finish_reason) == ("all", None, "stop")


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ([Cut()], Truncated),
        ([Reset()], Truncated),
        ([Error()], UpstreamFault),
        ([Raw(b"data: {\n\n")], UpstreamGarbage),
        ([], Truncated),
    ],
)
async def test_output_after_a_finish_reason_makes_the_reason_void(
    ending: Script, expected: type[UpstreamError]
) -> None:
    # https://github.com/open-webui/open-webui/issues/23921
    found = await after_text("all!", Text("all"), Finish(), Text("!"), GATE, *ending)
    assert (found.text, type(found.error)) == ("all!", expected)


ON_EVERY_CHUNK = {"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}


@pytest.mark.parametrize("ending", [[Cut()], [Error()]])
async def test_a_finish_reason_on_every_chunk_does_not_complete_an_answer_that_breaks_off(
    ending: Script,
) -> None:
    every = [Chunk({"choices": [ON_EVERY_CHUNK]})] * 3
    found = await read([*every, *ending])
    assert (found.text, found.error is None) == ("aaa", False)


@pytest.mark.parametrize("ending", [[], [Done()], [Usage(1, 3), Done()]])
async def test_a_finish_reason_on_every_chunk_is_an_end_where_the_stream_ends(
    ending: Script,
) -> None:
    found = await read([*[Chunk({"choices": [ON_EVERY_CHUNK]})] * 3, *ending])
    assert (found.text, found.error, found.tally.finish_reason) == ("aaa", None, "stop")


async def test_a_finish_reason_in_the_first_chunk_alone_counts_if_done_follows() -> None:
    first = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "stop"}
    found = await read([Chunk({"choices": [first]}), Text("a"), Text("b"), Done()])
    assert (found.text, found.error, found.tally.finish_reason) == ("ab", None, "stop")


@pytest.mark.parametrize(
    ("script", "is_whole"),
    [
        ([Finish(), Usage(7, 0), Done()], True),
        ([Finish(), Done()], True),
        ([Finish(), Usage(7, 0)], True),
        ([Finish("content_filter")], True),
        ([Finish()], False),
        ([Finish(), Cut()], False),
        ([Finish(), Usage(7, 0), Cut()], False),
        ([Role(), Done()], False),
    ],
)
async def test_an_empty_answer_is_complete_only_with_two_signs_of_its_end(
    script: Script, *, is_whole: bool
) -> None:
    found = await read(script)
    assert (found.error is None) == is_whole
    assert is_whole or type(found.error) is Truncated


@pytest.mark.parametrize("note", [b"data: [END]\n\n", b"data: done\n\n"])
async def test_a_note_behind_the_answer_is_not_read_and_not_the_end(note: bytes) -> None:
    found = await read([Text("all"), Finish(), Raw(note), Usage(1, 2)])
    assert (found.text, found.error) == ("all", None)
    assert found.tally.usage is not None


@pytest.mark.parametrize("ending", [[], [Cut()]])
async def test_a_part_of_a_chunk_behind_the_finish_reason_is_a_loss(ending: Script) -> None:
    part = b'data: {"choices":[{"index":0,"delta":{"content":"lo'
    found = await read([Text("all"), Finish(), Raw(part), *ending])
    assert (found.text, type(found.error)) == ("all", Truncated)


async def test_a_last_event_without_its_blank_line_is_read() -> None:
    last = b'data: {"choices":[{"index":0,"delta":{"content":"!"},"finish_reason":"stop"}]}'
    found = await read([Text("all"), Raw(last)])
    assert (found.text, found.error, found.tally.finish_reason) == ("all!", None, "stop")
