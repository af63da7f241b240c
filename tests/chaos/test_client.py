"""A client whose calls are answered late does not drown the API process in repeated calls."""

import asyncio

import aiohttp
from aiohttp import web

from tests.chaos.client import Client
from tests.chaos.history import History


async def test_a_call_that_takes_longer_than_its_caller_waits_is_answered_within_few_repeats() -> (
    None
):
    asked = 0

    async def answer_late(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.3)
        return web.json_response({"asked": asked})

    server = web.AppRunner(app := web.Application())
    app.router.add_get("/", answer_late)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    port = server.addresses[0][1]
    history = History(max_crashes=1)
    async with aiohttp.ClientSession() as session:
        urls = [f"http://127.0.0.1:{port}"]
        client = Client(session, urls, "ada", history, seed=1, patience_s=0.1)
        answer = await client.call("GET", "/")
    await server.cleanup()
    assert answer.status == 200
    assert 1 <= history.repeats["TimeoutError"] < asked <= 6
