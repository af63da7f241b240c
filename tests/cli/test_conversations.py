"""`watch` of a conversation, `list` and `roles` against the real API."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.cli.screen import Screen
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.cli.chat.client_settings import Server
from tickertape.cli.chat.listing import (
    conversation_lines,
    conversation_table,
    request_table,
    words_for_nothing,
)
from tickertape.cli.chat.turns import print_conversation, question_of, show_turns
from tickertape.cli.exits import CommandFailed
from tickertape.cli.inspect import roles
from tickertape.client import AsyncClient, ConversationSummary, Request
from tickertape.runtime.settings import Settings


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.2, openai_model="a-model") as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, Settings(openai_model="a-model")) as running:
        yield running


async def turn(client: AsyncClient, worker: Rig, question: str, answer: str) -> None:
    await client.submit(question, conversation_id="c1")
    await worker.claim()
    await worker.type(answer)
    await worker.finish(answer)


async def test_a_watched_conversation_shows_past_and_future_turns(
    api: RunningApi, worker: Rig
) -> None:
    screen = Screen(out_is_tty=True)
    async with AsyncClient(api.url) as client:
        await turn(client, worker, "first?", "One.")
        watching = asyncio.create_task(
            print_conversation(client.follow_conversation("c1"), screen.terminal, "c1")
        )
        await wait_until(lambda: "One." in screen.out, description="the past is shown")
        await turn(client, worker, "second?", "Two.")
        await wait_until(lambda: "Two.\n\n" in screen.out, description="the next turn is shown")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert screen.out == "> first?\n\nOne.\n\n> second?\n\nTwo.\n\n"


async def test_a_pipe_gets_the_answers_of_a_conversation_only(api: RunningApi, worker: Rig) -> None:
    screen = Screen()
    async with AsyncClient(api.url) as client:
        await turn(client, worker, "first?", "One.")
        await turn(client, worker, "second?", "Two.")
        watching = asyncio.create_task(
            print_conversation(client.follow_conversation("c1"), screen.terminal, "c1")
        )
        await wait_until(lambda: "Two.\n\n" in screen.out, description="both are written")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    assert screen.out == "One.\n\nTwo.\n\n"


async def test_an_opened_conversation_shows_its_turns(api: RunningApi, worker: Rig) -> None:
    screen = Screen(out_is_tty=True)
    async with AsyncClient(api.url) as client:
        await turn(client, worker, "first?", "One.")
        await show_turns(client, await client.conversation("c1"), screen.terminal)
    assert screen.out == "> first?\n\nOne.\n\n"


async def test_conversations_are_listed_and_searched(api: RunningApi, worker: Rig) -> None:
    async with AsyncClient(api.url) as client:
        await turn(client, worker, "Why is the sky blue?", "Air.")
        table = await conversation_lines(client, None, 20)
        assert table.startswith("c1  ")
        assert "Why is the sky blue?" in table
        assert await conversation_lines(client, "sky", 20) == table
        assert await conversation_lines(client, "nothing like it", 20) == ""


def test_a_question_is_the_last_message_of_the_user() -> None:
    parts = [{"type": "text", "text": "What is"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert (
        question_of([{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]) == "q"
    )
    assert question_of([{"role": "user", "content": parts}]) == "What is [image]"
    assert question_of([{"role": "tool", "content": "42"}]) == ""
    assert question_of(None) == ""


def test_a_conversation_is_listed_on_one_harmless_line() -> None:
    listed = ConversationSummary(
        conversation_id="c1", title="a\x1b[2J\nlong " + "x" * 99, turns=1, updated_at=1e9
    )
    table = conversation_table([listed])
    assert table.startswith("c1  2001-09-0")
    assert "  1 turn  a␛[2J long xxx" in table
    assert not set(table) & set("\x1b\n")
    assert conversation_table([]) == ""


def test_an_empty_list_says_what_it_lacks_and_where_requests_are() -> None:
    assert "--requests" in words_for_nothing(is_requests=False, query=None)
    assert "in its title" in words_for_nothing(is_requests=False, query="fox")
    assert words_for_nothing(is_requests=True, query=None) == "There are no requests."


def test_requests_are_listed_with_their_state() -> None:
    table = request_table([Request(request_id="r0_a", status="running", role="cli", model="m")])
    assert table.split() == ["r0_a", "running", "cli", "m"]


async def test_roles_are_those_of_the_server(
    api: RunningApi, capsys: pytest.CaptureFixture[str]
) -> None:
    await asyncio.to_thread(roles.run, Server(api.url), None, is_local=False)
    shown = capsys.readouterr()
    assert shown.out.startswith("cli ")
    assert shown.err == ""
    with pytest.raises(CommandFailed, match="nobody"):
        await asyncio.to_thread(roles.run, Server(api.url), "nobody", is_local=False)


def test_the_roles_of_this_machine_are_shown_if_the_server_is_away(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert roles.run(Server("http://127.0.0.1:9"), "cli", is_local=False) == 0
    shown = capsys.readouterr()
    assert "Connection refused; these are the roles of this machine" in shown.err
    assert "# SYSTEM" in shown.out
