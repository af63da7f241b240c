"""Calls whose answers stop half way, while the API that serves them is asked to end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from tests.support.callers import Caller
from tests.support.script import Done, Finish, Role, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.wire_calls import Ask, Asked
from tests.wires.conftest import openai_client

HALF, REST = "half ", "whole"


class Gated:
    """An upstream whose answers stop half way until `rest` is set."""

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.rest = asyncio.Event()
        self.upstream = upstream
        upstream.script = lambda _: [
            Role(), Text(HALF), Wait(self.rest), Text(REST), Finish(), Done(),
        ]  # fmt: skip

    async def begins(self, count: int) -> None:
        await wait_until(
            lambda: [call.deltas_sent for call in self.upstream.calls] == [1] * count,
            description=f"{count} answers to have begun",
        )


@asynccontextmanager
async def asking(url: str, *asks: Ask) -> AsyncIterator[list[asyncio.Task[str]]]:
    async with Caller(url) as caller, openai_client(url) as sdk:
        yield [
            asyncio.create_task(ask(Asked(f"{ask.__name__} {n}", caller.client, sdk)))
            for n, ask in enumerate(asks)
        ]


async def is_closed(url: str) -> bool:
    """Whether nothing listens at the URL any more."""
    try:
        async with httpx2.AsyncClient(verify=False) as client:
            await client.get(f"{url}/healthz")
    except httpx2.TransportError:
        return True
    return False


async def until_closed(url: str) -> None:
    await wait_until(lambda: is_closed(url), description="the API accepts no more")
