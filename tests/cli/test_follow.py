"""A reader gets every byte once, even if its connections break."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.cli.screen import Screen
from tests.cli.scripted_api import (
    REQUEST_ID,
    Cut,
    Frame,
    LoseReply,
    Refuse,
    ScriptedApi,
    Whole,
)
from tickertape.cli.chat.answer import print_answer
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import AsyncClient, CallRefused, Event, StreamLost, Timing

PIECES = ["Once ", "upon ", "a ", "tïme ", "there ", "was ", "😀."]
ANSWER = "".join(PIECES)
SHA256 = hashlib.sha256(ANSWER.encode()).hexdigest()
FRAMES = [
    Frame("queued", {}, "100-0"),
    Frame("started", {"n": 1, "model": "m"}, "101-0"),
    *(Frame("delta", {"text": text}, f"101-{n}") for n, text in enumerate(PIECES, 1)),
    Frame("completed", {"finish_reason": "stop", "sha256": SHA256}, "101-8"),
]
LENGTH = sum(len(frame.encode()) for frame in FRAMES)


# The outages of these tests end at once.
TIMING = Timing(stream_patience_s=20, longest_wait_s=0.01)
IMPATIENT = Timing(stream_patience_s=0.05, longest_wait_s=0.01)


@pytest.fixture
async def api() -> AsyncIterator[ScriptedApi]:
    async with ScriptedApi(FRAMES).running() as running:
        yield running


async def read(
    api: ScriptedApi, screen: Screen, cursor: str | None = None, timing: Timing = TIMING
) -> int:
    async with AsyncClient(api.url, timing=timing, notify=screen.terminal.note) as client:
        stream = client.follow(REQUEST_ID, after=cursor)
        return await print_answer(stream, screen.terminal, REQUEST_ID)


async def test_an_answer_is_printed_completely(api: ScriptedApi) -> None:
    screen = Screen()
    assert await read(api, screen) == Exit.OK
    assert screen.out == ANSWER
    assert api.cursors == [None]


@pytest.mark.parametrize("cut", range(1, LENGTH, 7))
async def test_wherever_the_connection_breaks_no_byte_is_lost_or_repeated(
    api: ScriptedApi, cut: int
) -> None:
    api.behaviours.append(Cut(cut))
    screen = Screen()
    assert await read(api, screen) == Exit.OK
    assert screen.out == ANSWER


async def test_a_connection_that_breaks_repeatedly_still_delivers_everything(
    api: ScriptedApi,
) -> None:
    one_frame = max(len(frame.encode()) for frame in FRAMES)
    api.behaviours.extend([Cut(one_frame)] * len(FRAMES))
    screen = Screen()
    assert await read(api, screen) == Exit.OK
    assert screen.out == ANSWER
    assert len(api.cursors) > 3


async def test_a_restart_of_the_api_is_waited_out(api: ScriptedApi) -> None:
    api.behaviours.extend([Cut(200), LoseReply(), Refuse(502), Refuse(503), Refuse(500)])
    screen = Screen()
    assert await read(api, screen) == Exit.OK
    assert screen.out == ANSWER


async def test_a_cursor_that_cannot_be_continued_restarts_the_answer(api: ScriptedApi) -> None:
    screen = Screen(out_is_tty=True)
    assert await read(api, screen, cursor="99-5") == Exit.OK
    assert screen.out == ANSWER + "\n"
    assert "starts over" in screen.err


async def test_after_a_rewind_the_old_cursor_is_not_sent_again(api: ScriptedApi) -> None:
    rewind = len(Frame("rewind", {"reason": "cursor_not_found"}).encode())
    api.behaviours.append(Cut(rewind))
    screen = Screen(out_is_tty=True)
    assert await read(api, screen, cursor="99-5") == Exit.OK
    assert api.cursors == ["99-5", None]
    assert screen.out == ANSWER + "\n"


async def test_a_reset_after_output_ends_a_pipe_with_its_own_exit_code(api: ScriptedApi) -> None:
    api.frames = [*FRAMES[:4], Frame("reset", {"reason": "worker_lost"}, "102-0"), *FRAMES[2:]]
    with pytest.raises(CommandFailed, match="was restarted") as failed:
        await read(api, Screen())
    assert failed.value.code == Exit.VOID
    assert f"watch --buffer {REQUEST_ID}" in str(failed.value)


async def test_a_reset_after_output_leaves_a_buffered_answer_complete(api: ScriptedApi) -> None:
    api.frames = [*FRAMES[:4], Frame("reset", {"reason": "worker_lost"}, "102-0"), *FRAMES[2:]]
    screen = Screen(buffers_answer=True)
    assert await read(api, screen) == Exit.OK
    assert screen.out == ANSWER


async def test_a_cursor_at_the_end_still_yields_the_end(api: ScriptedApi) -> None:
    assert await read(api, Screen(), cursor="101-8") == Exit.OK
    api.record |= {"status": "failed", "error": {"code": "deadline", "message": "Too slow."}}
    screen = Screen()
    assert await read(api, screen, cursor="101-8") == Exit.FAILED
    assert screen.err == "tickertape: Too slow. (deadline)\n"


@pytest.mark.parametrize(
    ("kind", "code"),
    [("failed", Exit.FAILED), ("cancelled", Exit.INTERRUPTED), ("gone", Exit.FAILED)],
)
async def test_the_exit_code_reflects_how_the_request_ended(
    api: ScriptedApi, kind: str, code: Exit
) -> None:
    api.frames = [*FRAMES[:4], Frame(kind, {}, "101-9")]
    assert await read(api, Screen()) == code


async def test_a_damaged_text_is_a_failure(api: ScriptedApi) -> None:
    api.frames = [frame for frame in FRAMES if frame.cursor != "101-3"]
    screen = Screen()
    assert await read(api, screen) == Exit.FAILED
    assert "checksum" in screen.err


async def test_an_unknown_request_is_reported_at_once(api: ScriptedApi) -> None:
    api.behaviours.append(Refuse(404, '{"error": {"message": "There is no such request."}}'))
    with pytest.raises(CommandFailed, match="There is no such request"):
        await read(api, Screen())


async def test_a_server_that_is_not_tickertape_is_rejected(api: ScriptedApi) -> None:
    api.behaviours.append(Refuse(200, "<html>", {"content-type": "text/html"}))
    with pytest.raises(CommandFailed, match="is not Tickertape"):
        await read(api, Screen())


async def test_a_server_with_json_of_its_own_is_rejected(api: ScriptedApi) -> None:
    api.models = api.record = {"models": ["one"]}
    async with AsyncClient(api.url) as client:
        for call in (client.models, client.roles):
            with pytest.raises(CallRefused, match="is not Tickertape"):
                await call()


async def test_a_redirect_is_reported_and_not_followed(api: ScriptedApi) -> None:
    api.behaviours.append(Refuse(301, "", {"location": "https://elsewhere.example/"}))
    with pytest.raises(CommandFailed, match="redirects to https://elsewhere"):
        await read(api, Screen())


async def test_an_unreachable_server_is_given_up_with_a_command_to_continue(
    api: ScriptedApi,
) -> None:
    until_third_delta = sum(len(frame.encode()) for frame in FRAMES[:5])
    api.behaviours.append(Cut(until_third_delta))
    api.behaviours.extend([Refuse(502)] * 1000)
    with pytest.raises(CommandFailed, match=f"watch {REQUEST_ID} --after 101-3"):
        await read(api, Screen(), timing=IMPATIENT)


async def test_giving_up_names_the_reason(api: ScriptedApi) -> None:
    api.behaviours.extend([Refuse(502, "bad gateway")] * 1000)
    async with AsyncClient(api.url, timing=IMPATIENT) as client:
        with pytest.raises(StreamLost, match="502 bad gateway"):
            _ = [event async for event in client.follow(REQUEST_ID)]


async def test_a_long_outage_and_its_end_are_reported_once(
    api: ScriptedApi,
) -> None:
    api.behaviours.extend([Cut(200), *[Refuse(502)] * 5, Whole()])
    screen = Screen()
    assert await read(api, screen, timing=replace(TIMING, notify_after_s=0)) == Exit.OK
    assert screen.err.count("reconnecting") == 1
    assert screen.err.count("reconnected") == 1


async def test_a_notice_does_not_move_the_cursor(api: ScriptedApi) -> None:
    aside = Frame("position", {"position": 1})
    api.frames = [FRAMES[0], aside, *FRAMES[1:]]
    api.behaviours.append(Cut(len(FRAMES[0].encode()) + len(aside.encode())))
    assert await read(api, Screen()) == Exit.OK
    assert api.cursors == [None, "100-0"]


async def test_a_key_is_sent_and_never_shown(api: ScriptedApi) -> None:
    async with AsyncClient(api.url, "sk-secret", timing=TIMING) as client:
        events = [event async for event in client.follow(REQUEST_ID)]
    assert events[-1] == Event("completed", {"finish_reason": "stop", "sha256": SHA256}, "101-8")
    assert api.authorizations == {"Bearer sk-secret"}
    assert "sk-secret" not in repr(vars(client))


async def test_a_password_in_the_address_is_not_shown() -> None:
    async with AsyncClient("http://user:secret@127.0.0.1:9") as client:
        assert client.display_url == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    "url", ["http://", "http://[", "http://127.0.0.1:99999", "ftp://127.0.0.1"]
)
async def test_an_invalid_url_is_reported(url: str) -> None:
    with pytest.raises(CallRefused, match="url is not a URL"):
        async with AsyncClient(url) as client:
            await client.get(REQUEST_ID)


@pytest.mark.parametrize("key", ["key\n", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_reported_without_it(key: str) -> None:
    with pytest.raises(CallRefused, match="the API key has a line end") as refused:
        AsyncClient("http://127.0.0.1:9", key)
    assert key not in str(refused.value)


def test_silence_is_longer_than_the_heartbeat_of_any_sensible_server() -> None:
    from tickertape.runtime.settings import Settings

    assert Settings().heartbeat_s * 2 < Timing().silence_s
