"""`chat` against the real API, and against one whose connections fail on purpose."""

import asyncio
import io
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cli.screen import Screen
from tests.cli.scripted_api import Frame, LoseReply, Refuse, ScriptedApi
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.cli.chat.ask import chat
from tickertape.cli.chat.message import read_message
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.client import AsyncClient, Timing
from tickertape.runtime.settings import Settings


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.2, openai_model="a-model") as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, Settings(openai_model="a-model")) as running:
        yield running


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedApi]:
    frames = [Frame("delta", {"text": "Hello"}, "101-1"), Frame("completed", {}, "101-2")]
    async with ScriptedApi(frames).running() as running:
        yield running


async def ask(url: str, screen: Screen, **options: Any) -> int:
    async with AsyncClient(url, notify=screen.terminal.note) as client:
        return await chat(client, "hi", options, screen.terminal)  # type: ignore[arg-type]  # any options


async def claim(worker: Rig, screen: Screen) -> str:
    """The id of the request that `chat` submits."""
    waiting = await wait_until(
        lambda: worker.connections.ask("LLEN", "{p0}:wait:public"), description="a request waits"
    )
    assert waiting == 1, screen.err
    return await worker.claim()


async def test_an_answer_is_printed_as_it_is_generated(api: RunningApi, worker: Rig) -> None:
    screen = Screen()
    asking = asyncio.create_task(ask(api.url, screen))
    await claim(worker, screen)
    await worker.type("Hel")
    await wait_until(lambda: screen.out == "Hel", description="the first piece is typed")
    await worker.type("lo")
    await worker.finish()
    assert await asking == Exit.OK
    assert screen.out == "Hello"


async def test_broken_connections_do_not_show_in_the_answer(api: RunningApi, worker: Rig) -> None:
    screen = Screen()
    async with FaultProxy(int(api.url.rpartition(":")[2])) as proxy:
        asking = asyncio.create_task(ask(f"http://127.0.0.1:{proxy.port}", screen))
        await claim(worker, screen)
        expected = ""
        for n in range(5):
            await worker.type(f"piece {n} ")
            expected += f"piece {n} "
            await wait_until(lambda: screen.out == expected, description=f"piece {n} is typed")  # noqa: B023  # awaited here
            proxy.reset_all()
        await worker.finish()
        assert await asking == Exit.OK
    assert screen.out == expected
    assert proxy.connection_count >= 5


async def test_an_answer_that_starts_over_is_printed_again_on_a_terminal(
    api: RunningApi, worker: Rig
) -> None:
    screen = Screen(out_is_tty=True)
    asking = asyncio.create_task(ask(api.url, screen))
    await claim(worker, screen)
    await worker.type("wro")
    await wait_until(lambda: "wro" in screen.out, description="the first attempt is typed")
    await worker.reopen()
    await worker.type("right")
    await worker.finish()
    assert await asking == Exit.OK
    assert screen.out == "wro\nright\n"
    assert "starts over" in screen.err


async def test_ctrl_c_cancels_the_request_on_the_server(api: RunningApi, worker: Rig) -> None:
    before = signal.getsignal(signal.SIGINT)
    screen = Screen()
    asking = asyncio.create_task(ask(api.url, screen))
    request_id = await claim(worker, screen)
    await worker.type("half")
    await wait_until(lambda: screen.out == "half", description="some of it is typed")
    signal.raise_signal(signal.SIGINT)
    assert await asking == Exit.INTERRUPTED
    assert (await api.read(request_id))["status"] == "cancelled"
    assert screen.out == "half"
    assert signal.getsignal(signal.SIGINT) is before


async def test_ctrl_c_while_queued_cancels_too(api: RunningApi) -> None:
    screen = Screen(err_is_tty=True)
    asking = asyncio.create_task(ask(api.url, screen))
    await wait_until(lambda: "queued" in screen.err, description="it waits in line")
    signal.raise_signal(signal.SIGINT)
    assert await asking == Exit.INTERRUPTED


async def test_a_request_that_cannot_be_cancelled_is_reported(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.frames.pop()
    screen = Screen()
    asking = asyncio.create_task(ask(scripted.url, screen))
    await wait_until(lambda: screen.out == "Hello", description="some of it is typed")
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(CommandFailed, match=r"not be cancelled.*watch r0_scripted") as failed:
        await asking
    assert failed.value.code == Exit.INTERRUPTED


async def test_an_unreachable_server_does_not_delay_ctrl_c(
    scripted: ScriptedApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted.replies.extend([Refuse(503)] * 1000)
    screen = Screen()
    asking = asyncio.create_task(ask(scripted.url, screen))
    await wait_until(lambda: scripted.keys, description="it was tried")
    signal.raise_signal(signal.SIGINT)
    with pytest.raises(CommandFailed, match="did not answer") as failed:
        await asking
    assert failed.value.code == Exit.INTERRUPTED


async def test_a_lost_reply_is_retried_with_the_same_key(scripted: ScriptedApi) -> None:
    scripted.replies.extend([LoseReply(), Refuse(502), Refuse(503)])
    screen = Screen()
    assert await ask(scripted.url, screen) == Exit.OK
    assert screen.out == "Hello"
    assert len(scripted.keys) == 4
    assert len(set(scripted.keys)) == 1


async def test_two_messages_have_two_keys(scripted: ScriptedApi) -> None:
    await ask(scripted.url, Screen())
    await ask(scripted.url, Screen())
    assert len(set(scripted.keys)) == 2


async def test_a_submit_through_a_proxy_that_loses_the_reply_runs_once(
    api: RunningApi, worker: Rig
) -> None:
    screen = Screen()
    async with FaultProxy(int(api.url.rpartition(":")[2])) as proxy:
        lost = proxy.lose_reply_to(b"POST /chat")
        asking = asyncio.create_task(ask(f"http://127.0.0.1:{proxy.port}", screen))
        await claim(worker, screen)
        await worker.type("once")
        await worker.finish()
        assert await asking == Exit.OK
    assert lost.is_set()
    assert screen.out == "once"
    listed = (await api.client.get("/chat")).json()
    assert len(listed["requests"]) == 1


async def test_options_reach_the_server(scripted: ScriptedApi) -> None:
    await ask(scripted.url, Screen(), role="cli", temperature=0.5, conversation_id="c1")
    assert scripted.bodies == [
        {"message": "hi", "role": "cli", "temperature": 0.5, "conversation_id": "c1"}
    ]


async def test_an_unknown_role_is_reported_with_the_servers_message(api: RunningApi) -> None:
    with pytest.raises(CommandFailed, match="no role is named 'nobody'") as failed:
        await ask(api.url, Screen(), role="nobody")
    assert failed.value.code == Exit.FAILED


async def test_an_unreachable_server_is_reported_and_given_up() -> None:
    screen = Screen()
    timing = Timing(first_patience_s=0.3)
    async with AsyncClient("http://127.0.0.1:9", timing=timing) as client:
        with pytest.raises(
            CommandFailed, match=r"Connection refused.*tickertape up` running.*--url"
        ):
            await chat(client, "hi", {}, screen.terminal)


def test_a_message_can_come_from_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("Grüße\n".encode()))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert read_message("-") == "Grüße\n"


@pytest.mark.parametrize("message", ["", "  \n"])
def test_an_empty_message_is_not_sent(message: str) -> None:
    with pytest.raises(CommandFailed) as failed:
        read_message(message)
    assert failed.value.code == Exit.USAGE
