"""`tickertape chat` as a person sees it: in a terminal, over a network that breaks.

With TICKERTAPE_CAPTURES=FOLDER, the screens are written there, for docs/terminal.md.
"""

import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.programs import command, environment
from tests.support.proxy import FaultProxy
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.tmux import Tmux
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.slow

TABLE = """\
## Planets

| planet | moons |
|--------|-------|
| Earth  | 1     |
| Mars   | 2     |

- *Jupiter* has `95`.
"""
WORDS = [f"word{n} " for n in range(40)]


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.5, openai_model="a-model") as running:
        yield running


@pytest.fixture
async def worker(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, Settings(openai_model="a-model")) as running:
        yield running


@pytest.fixture
async def proxy(api: RunningApi) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(int(api.url.rpartition(":")[2])) as running:
        yield running


@pytest.fixture
async def terminal(proxy: FaultProxy, tmp_path: Path) -> AsyncIterator[Tmux]:
    """A terminal in which `tickertape chat` has opened its prompt."""
    tmux = Tmux(tmp_path)
    variables = environment(
        TICKERTAPE_URL=f"http://127.0.0.1:{proxy.port}",
        XDG_STATE_HOME=str(tmp_path),
        LANG="C.UTF-8",
    )
    await tmux.start(command("chat"), variables)
    try:
        await tmux.shows("/help lists the commands", "\n>")
        yield tmux
    finally:
        await tmux.stop()


def keep(name: str, screen: str) -> None:
    """Write a screen for the documents, with the address and the id that they use."""
    if folder := os.environ.get("TICKERTAPE_CAPTURES"):
        screen = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", screen)
        screen = re.sub(
            r"\S+ -m tickertape\.cli\.main|\S*/tickertape (?=watch|chat)", "tickertape", screen
        )
        Path(folder, f"{name}.txt").write_text(screen + "\n")


async def ask(terminal: Tmux, worker: Rig, question: str) -> str:
    """The id of the request that the question becomes, claimed by `worker`."""
    await terminal.type(question)
    await terminal.press("Enter")
    await wait_until(
        lambda: worker.connections.ask("LLEN", "{p0}:wait:public"), description="a request waits"
    )
    return await worker.claim()


async def test_an_answer_is_formatted_and_the_next_message_continues_the_conversation(
    api: RunningApi, worker: Rig, terminal: Tmux
) -> None:
    request_id = await ask(terminal, worker, "Which planets have moons?")
    await terminal.shows("waiting for the first token")
    for line in TABLE.splitlines(keepends=True):
        await worker.type(line)
    await terminal.shows("Earth   1", "• Jupiter has 95.")
    await worker.finish(TABLE)
    await terminal.prompts()
    await terminal.type("/role cl")
    await terminal.press("Tab")
    await terminal.shows("/role cli")
    await terminal.press("Enter")
    await terminal.shows("role: cli", "cli>")
    second_id = await ask(terminal, worker, "And Venus?")
    await worker.type("None.")
    await worker.finish("None.")
    await terminal.shows("None.")
    keep("chat", await terminal.prompts("cli> "))
    first, second = await api.read(request_id), await api.read(second_id)
    assert first["conversation_id"] == second["conversation_id"]
    assert (first["role"], second["role"]) == (None, "cli")
    await terminal.press("C-d")
    await terminal.shows("Continue it:", str(first["conversation_id"]))
    assert await terminal.exit_code() == 0


async def test_an_answer_over_a_cut_network_is_shown_exactly(
    api: RunningApi, worker: Rig, terminal: Tmux, proxy: FaultProxy
) -> None:
    await ask(terminal, worker, "Count, please.")
    for word in WORDS[:20]:
        await worker.type(word)
    await terminal.shows("word19")
    proxy.is_blackhole = True
    for word in WORDS[20:]:
        await worker.type(word)
    keep("cut", await terminal.screen())
    proxy.reset_all()
    proxy.is_blackhole = False
    await worker.finish("".join(WORDS))
    await terminal.shows("word39")
    shown = await terminal.prompts()
    keep("resumed", shown)
    assert re.findall(r"word\d+", shown) == [word.strip() for word in WORDS]


async def test_ctrl_c_stops_the_answer_and_keeps_the_prompt(
    api: RunningApi, worker: Rig, terminal: Tmux
) -> None:
    request_id = await ask(terminal, worker, "Tell me everything.")
    await worker.type("It began when ")
    await terminal.shows("It began when")
    await terminal.press("C-c")
    stopped = await terminal.prompts()
    keep("stopped", stopped)
    assert (
        "\ntickertape: cancelling; press Ctrl+C again to quit at once\nIt began when\n" in stopped
    )
    assert (await api.read(request_id))["status"] == "cancelled"
    await ask(terminal, worker, "Shorter.")
    await worker.type("It began.")
    await worker.finish("It began.")
    await terminal.shows("It began.")
    await terminal.prompts()


async def test_a_message_of_two_lines_is_one_message(
    api: RunningApi, worker: Rig, terminal: Tmux
) -> None:
    await terminal.type("first line")
    await terminal.press("M-Enter")
    request_id = await ask(terminal, worker, "second line")
    assert worker.lease is not None
    assert worker.lease.payload["messages"][-1]["content"] == "first line\nsecond line"
    assert (await api.read(request_id))["status"] == "running"
