"""The shop of examples/: an API, a worker with one of the agents, and the model that is asked."""

import asyncio
from pathlib import Path

from tests.support.deployment import Deployment
from tests.support.programs import Program
from tests.support.running_api import RunningApi
from tests.support.script import Done, Finish, Role, Script, Text, ToolCall, Usage, Wait, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until

REFUND = "Order 17 never came. I want my money back."
HALF = "Order 17 was lost. "
WHOLE = f"{HALF}You have your money back."
STORY = "Tell me a story."
BEGIN = "Once "

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
