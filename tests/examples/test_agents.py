"""The agents of examples/ in real clients: their worker is killed, and an answer is stopped."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.examples.conftest import EXAMPLES, page_origins, serving_files
from tests.page.looking import ANSWERS, NOTES, ask, click, shows
from tests.support.browser import Browser, Page, connect
from tests.support.deployment import Deployment
from tests.support.firefox import connect_firefox
from tests.support.node import installed
from tests.support.packages import ROOT, locked_python
from tests.support.programs import Program
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Done, Finish, Role, Script, Text, ToolCall, Usage, Wait, answer
from tests.support.servers import ValkeyServer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires.test_agui_packages import shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

REFUND = "Order 17 never came. I want my money back."
HALF = "Order 17 was lost. "
WHOLE = f"{HALF}You have your money back."
STORY = "Tell me a story."
BEGIN = "Once "
FORM = "document.querySelector('form')"
SAID = "[...document.querySelectorAll('p')].map((p) => p.textContent)"


# The modules in examples/, and the functions in them.
PYDANTIC = ("pydantic_agent", "shop-agent")
LANGGRAPH = ("langgraph_agent", "shop-graph")


class Shop:
    """An API, a worker with an agent as a process, and the model that the agent asks.

    The model stops behind HALF until the worker is lost, and behind BEGIN for good.
    """

    def __init__(
        self,
        agent: tuple[str, str],
        api: RunningApi,
        deployment: Deployment,
        upstream: ScriptedUpstream,
        book: Path,
    ) -> None:
        self.api = api
        self._module, self._function = agent
        self.upstream = upstream
        self._deployment = deployment
        self._book = book
        self._has_died = asyncio.Event()
        self._worker: Program
        upstream.script = self._script

    async def start_worker(self) -> None:
        self._worker = self._deployment.start("worker", "worker", self._module)
        await self._worker.logged("working")
        await wait_until(self._is_listed, description="the agent is listed")

    async def lose_worker(self) -> None:
        """SIGKILL, and a successor."""
        await self._worker.kill()
        self._has_died.set()
        await self.start_worker()

    async def has_text(self, text: str) -> None:
        """Wait until the newest answer has this text."""

        async def has() -> bool:
            requests = (await self.api.client.get("/chat")).json()["requests"]
            return bool(requests) and (await self._text(requests[0]["request_id"])) == text

        await wait_until(has, timeout_s=60, description=f"an answer with {text!r}")

    def refunded_once(self) -> None:
        """Fail unless the tools ran once, and the second run knew what they gave."""
        lines = self._book.read_text("utf-8").splitlines()
        assert [line.split()[0] for line in lines] == ["17"]
        first, second = [call.body for call in self.upstream.calls if results_of(call) == 2]
        assert second["messages"] == first["messages"]
        assert [m["content"] for m in second["messages"] if m["role"] == "tool"] == [
            "lost on its way",
            "Order 17 is refunded.",
        ]

    async def stopped(self) -> None:
        """Wait until the model's connection is closed in the middle of the story."""
        (call,) = [call for call in self.upstream.calls if call.body["messages"][-1] == told(STORY)]
        await wait_until(lambda: call.outcome == "closed", description="the call to be closed")

    async def _text(self, request_id: str) -> object:
        return (await self.api.read(request_id))["text"]

    async def _is_listed(self) -> bool:
        listed = (await self.api.client.get("/v1/models")).json()["data"]
        return self._function in {model["id"] for model in listed}

    def _script(self, call: Call) -> Script:
        if "tools" not in call.body:
            return answer("A title")
        if call.body["messages"][-1] == told(STORY):
            return [Role(), Text(BEGIN), Wait(asyncio.Event())]
        match results_of(call):
            case 0:
                return called("look_up")
            case 1:
                return called("refund")
        rest = Text(WHOLE.removeprefix(HALF))
        return [Role(), Text(HALF), Wait(self._has_died), rest, Finish(), Usage(20, 6), Done()]


def told(question: str) -> dict[str, str]:
    return {"role": "user", "content": question}


def results_of(call: Call) -> int:
    """How many results of tools follow the last question."""
    roles = [message["role"] for message in call.body["messages"]]
    behind = roles[::-1].index("user")
    return roles[len(roles) - behind :].count("tool")


def called(tool: str) -> Script:
    part = ToolCall('{"order": "17"}', name=tool, call_id=f"call_{tool}")
    return [Role(), part, Finish("tool_calls"), Usage(10, 5), Done()]


@pytest.fixture(params=[PYDANTIC], ids=["pydantic"])
async def shop(
    request: pytest.FixtureRequest,
    own_redis: ValkeyServer,
    deployment: Deployment,
    upstream: ScriptedUpstream,
    tmp_path: Path,
) -> AsyncIterator[Shop]:
    # The worker has the packages of the agent in front of its own.
    (packages,) = locked_python("clients").parent.parent.glob("lib/python*/site-packages")
    deployment.settings["PYTHONPATH"] = os.pathsep.join(map(str, [ROOT, EXAMPLES, packages]))
    async with running_api(
        own_redis.url, openai_model=request.param[1], cors_origins=page_origins(), lease_s=1
    ) as api:
        shop = Shop(request.param, api, deployment, upstream, tmp_path / "refunds.txt")
        await shop.start_worker()
        yield shop


async def test_two_browsers_see_one_answer_of_an_agent_whose_worker_is_killed_and_stop_another(
    shop: Shop, chromium: str, firefox: str
) -> None:
    async with connect(chromium) as one, connect_firefox(firefox) as two:
        first = await one.open(f"{shop.api.url}/")
        await ask(first, REFUND)
        second = await two.open(await first.evaluate("location.href"))
        for page in (first, second):
            await shows(page, ANSWERS, [HALF])
        await shop.lose_worker()
        for page in (first, second):
            await shows(page, ANSWERS, [WHOLE])
        shop.refunded_once()
        await ask(second, STORY)
        for page in (first, second):
            await shows(page, ANSWERS, [WHOLE, BEGIN])
        await click(first, "#stop")
        for page in (first, second):
            await shows(page, f"({NOTES}).at(-1)", "Stopped.")
            await shows(page, ANSWERS, [WHOLE, BEGIN])
        await shop.stopped()
        assert [*first.problems, *second.problems] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "shop", [PYDANTIC, LANGGRAPH], ids=["pydantic", "langgraph"], indirect=True
)
async def test_tanstack_shows_one_answer_of_an_agent_whose_worker_is_killed_and_stops_another(
    shop: Shop, tmp_path: Path
) -> None:
    folder = installed(tmp_path, "agui")
    showing = asyncio.create_task(shown(folder, "tanstack", shop.api.url, question=REFUND))
    await shop.has_text(HALF)
    await shop.lose_worker()
    assert await showing == {"messages": [["user", REFUND], ["assistant", WHOLE]]}
    shop.refunded_once()
    stopped = await shown(folder, "tanstack", shop.api.url, question=STORY, stop_at=BEGIN)
    assert stopped == {"messages": [["user", STORY], ["assistant", BEGIN]]}
    await shop.stopped()


@pytest.mark.long
async def test_use_chat_shows_one_answer_of_an_agent_whose_worker_is_killed_and_stops_another(
    shop: Shop, browser: Browser, chat_page: Path
) -> None:
    with serving_files(chat_page) as origin:
        query = urlencode({"id": "a", "api": shop.api.url})
        page = await browser.open(f"{origin}/index.html?{query}")
        await page.wait_for(f"{FORM}?.dataset.status === 'ready'")
        await say(page, REFUND)
        await shows(page, SAID, [REFUND, HALF])
        await shop.lose_worker()
        await shows(page, SAID, [REFUND, WHOLE])
        await page.wait_for(f"{FORM}.dataset.status === 'ready'")
        shop.refunded_once()
        await say(page, STORY)
        await shows(page, SAID, [REFUND, WHOLE, STORY, BEGIN])
        await click(page, "form [type=button]")
        await page.wait_for(f"{FORM}.dataset.status === 'ready'")
        await shows(page, SAID, [REFUND, WHOLE, STORY, BEGIN])
        await shop.stopped()


async def say(page: Page, question: str) -> None:
    await page.evaluate("document.querySelector('input').focus()")
    await page.type(question)
    await page.press("Enter", 13)
