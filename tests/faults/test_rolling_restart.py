"""Every process is replaced, one after the other, while clients of every wire make calls."""

import asyncio
import signal
from collections import Counter

import httpx2
import pytest

from tests.support.callers import Caller
from tests.support.deployment import MakeDeployment, port_of
from tests.support.proxy import FaultProxy
from tests.support.script import Done, Finish, Pause, Role, Text
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.wire_calls import (
    FOREGROUND,
    Ask,
    Asked,
    background,
    background_stream,
    resuming_native,
)
from tests.wires.conftest import openai_client

pytestmark = pytest.mark.slow

WIRES: tuple[Ask, ...] = (*FOREGROUND, background, background_stream, resuming_native)
WORDS = [f"word {number}, " for number in range(20)]
# What a client that keeps connections leaves to the proxy in front of the API.
ONCE = {"Connection": "close"}


class Clients:
    """One client of each wire, which asks again as soon as it has its answer."""

    def __init__(self, url: str, caller: Caller) -> None:
        self.heard: Counter[tuple[str, str]] = Counter()
        self.asked = 0
        self._url = url
        self._caller = caller
        self._is_over = False
        self._tasks = [asyncio.create_task(self._ask(ask)) for ask in WIRES]

    async def _ask(self, ask: Ask) -> None:
        async with openai_client(self._url, headers=ONCE) as sdk:
            while not self._is_over:
                self.asked += 1
                question = f"{ask.__name__} {self.asked}"
                text = await ask(Asked(question, self._caller.client, sdk))
                self.heard[ask.__name__, text] += 1

    async def have_asked(self, count: int) -> None:
        """Wait until all of them have begun this many new calls."""
        goal = self.asked + count
        await wait_until(lambda: self.asked >= goal, timeout_s=60, description="the clients go on")

    async def end(self) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)


async def is_gone(url: str) -> bool:
    """Whether a balancer takes the process out, because its probe fails."""
    try:
        async with httpx2.AsyncClient(verify=False) as client:
            return (await client.get(f"{url}/readyz")).status_code != 200
    except httpx2.TransportError:
        return True


async def test_a_rolling_restart_costs_no_client_an_answer_and_no_answer_is_paid_twice(
    make_deployment: MakeDeployment, upstream: ScriptedUpstream
) -> None:
    upstream.script = lambda _: [
        Role(), *(step for word in WORDS for step in (Text(word), Pause(0.1))), Finish(), Done(),
    ]  # fmt: skip
    deployment = make_deployment(TICKERTAPE_DRAIN_S="60", TICKERTAPE_DRAIN_DELAY_S="2")
    (api, url), worker = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with FaultProxy(port_of(url)) as balancer:
        address = f"http://127.0.0.1:{balancer.port}"
        async with Caller(address, headers=ONCE) as caller:
            clients = Clients(address, caller)
            await clients.have_asked(len(WIRES))
            _, new_url = await deployment.running_api()
            api.signal(signal.SIGTERM)
            await wait_until(lambda: is_gone(url), description="the probe fails")
            balancer.lead_new_to(port_of(new_url))
            await clients.have_asked(len(WIRES))
            assert await asyncio.to_thread(api.process.wait, 60) == 0
            await deployment.running_worker()
            worker.signal(signal.SIGTERM)
            await clients.have_asked(len(WIRES))
            assert await asyncio.to_thread(worker.process.wait, 60) == 0
            await clients.end()
    assert set(clients.heard) == {(ask.__name__, "".join(WORDS)) for ask in WIRES}
    assert len(upstream.calls) == clients.asked
