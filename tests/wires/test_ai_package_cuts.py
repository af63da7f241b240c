"""The AI SDK's clients behind a network that cuts every reply, while two workers die."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from itertools import chain, count, repeat
from pathlib import Path

import pytest

from tests.support.deployment import Deployment, port_of
from tests.support.node import NodeProgram, installed
from tests.support.proxy import FaultProxy
from tests.support.script import Done, Finish, Script, Text, Wait
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = Path(__file__).parent / "ai_sdk_cuts.mjs"
WORDS = 50
# Each attempt but the last one dies behind so many words of the answer.
DEATHS = (17, 34)


class Mortal:
    """An upstream whose first two answers stop in the middle. An answer begun anew differs."""

    def __init__(self, upstream: ScriptedUpstream, *, can_continue: bool) -> None:
        upstream.owner = "llamacpp" if can_continue else "somebody"
        upstream.script = self._script
        self.may_end = asyncio.Event()
        self._calls = 0

    def _script(self, call: Call) -> Script:
        self._calls += 1
        last = call.body["messages"][-1]
        said = last["content"].split() if last["role"] == "assistant" else []
        telling = said[0].partition(".")[0] if said else str(self._calls)
        died = self._calls <= len(DEATHS)
        end = DEATHS[self._calls - 1] if died else WORDS
        words = [Text(word) for word in told(telling)[len(said) : end]]
        if died:
            return [*words, Wait(asyncio.Event())]
        return [*words, Wait(self.may_end), Finish(), Done()]


def told(telling: str) -> list[str]:
    """The words of an answer, each with the space behind it."""
    return [f"{telling}.{number} " for number in range(WORDS)]


@pytest.mark.long
@pytest.mark.parametrize(
    ("packages", "transport", "path"),
    [
        ("ai7", "workflow", "/api/v7/chat"),
        ("ai7", "workflow", "/api/chat"),
        ("ai7", "default", "/api/v7/chat"),
        ("ai7", "default", "/api/chat"),
        ("ai6", "default", "/api/chat"),
        ("ai5", "reloaded", "/api/chat"),
    ],
)
async def test_an_answer_that_is_cut_at_every_event_is_shown_once_and_whole(
    packages: str,
    transport: str,
    path: str,
    deployment: Deployment,
    upstream: ScriptedUpstream,
    tmp_path: Path,
) -> None:
    starts_over = path == "/api/v7/chat"
    mortal = Mortal(upstream, can_continue=not starts_over)
    last_telling = "3" if starts_over else "1"
    (_, first), (_, second), worker = await asyncio.gather(
        deployment.running_api(), deployment.running_api(), deployment.running_worker()
    )
    async with FaultProxy(port_of(first)) as proxy:
        proxy.take_turns(port_of(first), port_of(second))
        # A replay has to get further than the one before it, and three chunks precede the words.
        growing = chain(range(1, WORDS + 4), repeat(None)) if transport == "reloaded" else count(1)
        proxy.cuts = repeat(1) if transport == "workflow" else growing
        environment = {
            "TICKERTAPE_URL": f"http://127.0.0.1:{proxy.port}",
            "API_PATH": path,
            "TRANSPORT": transport,
            "LAST_WORD": told(last_telling)[-1],
        }
        folder = installed(tmp_path, packages)
        async with NodeProgram(folder, SCRIPT, environment) as program:
            for number, words in enumerate(DEATHS):
                # A client gets two events before the first word, and is cut at each.
                await wait_until(
                    partial(_has_cut, proxy, words + 3 * number),
                    timeout_s=30,
                    description="the client has been cut at the words so far",
                )
                await worker.kill()
                worker = await deployment.running_worker()
            lines = [line async for line in _until_whole(program, proxy, mortal)]
    shown = json.loads(lines[-1])
    assert shown == {
        "status": "ready",
        "text": "".join(told(last_telling)),
        "parts": ["step-start", "text"],
        "count": 2,
    }


def _has_cut(proxy: FaultProxy, times: int) -> bool:
    return proxy.connection_count > times


async def _until_whole(
    program: NodeProgram, proxy: FaultProxy, mortal: Mortal
) -> AsyncIterator[str]:
    """The lines of the program, which is left in peace once it has the last word."""
    async for line in program.lines():
        if line == "at end":
            proxy.cuts = None
            mortal.may_end.set()
        yield line
