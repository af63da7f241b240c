"""The real clients of AG-UI, as installed from their registry, against real API processes."""

import asyncio
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.callers import Caller
from tests.support.cutting import Cutting
from tests.support.deployment import Deployment, port_of
from tests.support.node import NodeProgram, installed
from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Done, Finish, Script, Text, Wait, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires.claiming import claimed
from tests.wires.runs import run
from tickertape.broker.codec import encode_text
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SCRIPT = Path(__file__).parent / "agui_clients.mjs"
FETCH = Path(__file__).parents[2] / "examples" / "agui_fetch.mjs"
CLIENTS = ("ag-ui", "tanstack", "copilotkit", "assistant-ui")
RESUMING = ("tanstack", "ag-ui-resuming", "ag-ui-again")
QUESTION = "Why is it blue?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = installed(tmp_path_factory.mktemp("agui"), "agui")
    shutil.copy(FETCH, folder)
    return folder


async def shown(
    folder: Path,
    client: str,
    url: str,
    *,
    question: str = QUESTION,
    stop_at: str = "",
    **forwarded: Any,
) -> dict[str, Any]:
    """What a client shows at the end. It stops an answer that ends with `stop_at`."""
    environment = {
        "TICKERTAPE_URL": url,
        "STOP_AT": stop_at,
        "FORWARDED": json.dumps(forwarded),
    }
    async with NodeProgram(folder, SCRIPT, environment, client, question) as program:
        lines = [line async for line in program.lines()]
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def asked_and_answered(text: str) -> dict[str, Any]:
    return {"messages": [["user", QUESTION], ["assistant", text]]}


@pytest.mark.long
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_shows_an_answer(
    client: str, folder: Path, redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer("Hello")
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with running_api(redis_url) as api, working(redis_url, settings):
        assert await shown(folder, client, api.url, temperature=0.5) == asked_and_answered("Hello")


@pytest.mark.parametrize(
    "client",
    # CopilotKit shows what its HttpAgent has, as the first client does.
    ["ag-ui", "tanstack", pytest.param("copilotkit", marks=pytest.mark.long), "assistant-ui"],
)
async def test_a_client_takes_text_back(
    client: str, folder: Path, redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url) as api:
        showing = asyncio.create_task(shown(folder, client, api.url))
        await wait_until(partial(_asked, api), timeout_s=60, description="the question")
        await claimed(worker)
        await worker.append(encode_text("reasoning", "Hm."))
        await worker.type("WRONG ", "half")
        await worker.reopen()
        await worker.type("RIGHT ", "whole")
        await worker.finish()
        found = await showing
    texts = [text for role, text in found["messages"] if text and role == "assistant"]
    # It takes no message back that it writes; docs/agui.md says so.
    kept = ["Hm.WRONG half"] if client == "assistant-ui" else []
    assert texts == [*kept, "RIGHT whole"]


async def _asked(api: RunningApi) -> bool:
    return bool((await api.client.get("/chat")).json()["requests"])


@pytest.mark.long
async def test_a_page_of_tanstack_that_is_loaded_in_mid_answer_is_restored_by_its_thread(
    folder: Path, redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url) as api:
        first = run(api)
        await claimed(worker)
        await worker.type("Hel")
        reloaded = NodeProgram(
            folder, SCRIPT, {"TICKERTAPE_URL": api.url, "THREAD": "thread"}, "tanstack-restored"
        )
        async with reloaded as program:
            lines = program.lines()
            assert await anext(lines) == "restored"
            await worker.type("lo")
            await worker.finish()
            (found,) = [json.loads(line) async for line in lines]
        await first
    assert found == {"messages": [["user", "hi"], ["assistant", "Hello"]]}


class Interrupted:
    """An upstream of 50 deltas, whose first two answers stop in the middle."""

    whole = "".join(f"{number} " for number in range(50))

    def __init__(self, upstream: ScriptedUpstream, *stops: int) -> None:
        self.stops = list(stops)
        self.calls = 0
        upstream.script = self._script

    def _script(self, call: Call) -> Script:
        del call
        number, self.calls = self.calls, self.calls + 1
        deltas = [Text(f"{delta} ") for delta in range(50)]
        if number < len(self.stops):
            wrong = [Text(f"{number}: "), *deltas[: self.stops[number] - 1]]
            return [*wrong, Wait(asyncio.Event())]
        return [*deltas, Finish(), Done()]

    def text_of(self, call: int) -> str:
        """What the answer to a call has before it stops."""
        return f"{call}: " + "".join(f"{number} " for number in range(self.stops[call] - 1))


@pytest.mark.long
@pytest.mark.parametrize("client", ["tanstack", "ag-ui-resuming", "ag-ui-again"])
async def test_text_is_exact_after_a_cut_behind_every_event_and_two_takeovers(
    client: str, folder: Path, deployment: Deployment, upstream: ScriptedUpstream
) -> None:
    interrupted = Interrupted(upstream, 20, 35)
    (_, first), (_, second), worker = await asyncio.gather(
        deployment.running_api(), deployment.running_api(), deployment.running_worker()
    )
    async with Cutting(port_of(first), port_of(second)) as front, Caller(first) as caller:
        showing = asyncio.create_task(shown(folder, client, f"http://127.0.0.1:{front.port}"))
        for number in range(2):
            successor = await deployment.running_worker()
            await wait_until(
                partial(_has_text, caller, interrupted.text_of(number)),
                timeout_s=60,
                description=f"answer {number} stops",
            )
            await worker.kill()
            worker = successor
        assert await showing == asked_and_answered(interrupted.whole)
    assert front.cuts > 50
    assert interrupted.calls == 3


async def _has_text(caller: Caller, text: str) -> bool:
    requests = (await caller.client.get("/chat")).json()["requests"]
    return bool(requests) and (await caller.read(requests[0]["request_id"]))["text"] == text
