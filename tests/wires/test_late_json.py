"""Whole answers that take long: white space comes before them, and errors after it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from openai import AsyncOpenAI

from tests.support.proxy import FaultProxy
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tests.wires import chats, responding
from tests.wires.claiming import claimed
from tests.wires.conftest import openai_client

BODIES = {
    chats.URL: {"model": "m", "messages": [chats.HI]},
    responding.URL: {"model": "m", "input": "hi"},
}


@pytest.fixture
async def api(redis_url: str) -> AsyncIterator[RunningApi]:
    async with running_api(redis_url, heartbeat_s=0.1) as running:
        yield running


class Waiting:
    """A call and the bytes of its answer so far."""

    def __init__(self, api: RunningApi, path: str) -> None:
        self.status = 0
        self.headers = httpx2.Headers()
        self.body = b""
        self.task = asyncio.create_task(self._read(api, path))

    async def _read(self, api: RunningApi, path: str) -> None:
        async with api.client.stream("POST", path, json=BODIES[path]) as answer:
            self.status, self.headers = answer.status_code, answer.headers
            async for piece in answer.aiter_raw():
                self.body += piece

    async def has_spaces(self) -> None:
        await wait_until(lambda: len(self.body) >= 2, description="white space comes")
        assert self.body.strip() == b""


def request_id_of(worker: Rig) -> str:
    assert worker.lease is not None
    return worker.lease.request_id


@pytest.mark.parametrize("path", BODIES)
async def test_white_space_comes_before_an_answer_that_takes_long(
    api: RunningApi, worker: Rig, path: str
) -> None:
    call = Waiting(api, path)
    await claimed(worker)
    await call.has_spaces()
    await worker.type("Hello")
    await worker.finish()
    await call.task
    assert (call.status, call.headers["content-type"]) == (200, "application/json")
    assert call.headers["x-request-id"] == request_id_of(worker)
    assert call.headers["x-accel-buffering"] == "no"
    assert "Hello" in json.dumps(json.loads(call.body))


async def test_the_sdk_reads_answers_behind_white_space(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    for ask in (chats.ask, responding.ask):
        asking = ask(sdk)
        await claimed(worker)
        await asyncio.wait({asking}, timeout=0.4)
        await worker.type("Hello")
        await worker.finish()
        answer = await asking
        is_chat = ask is chats.ask
        assert (answer.choices[0].message.content if is_chat else answer.output_text) == "Hello"


@pytest.mark.parametrize("path", BODIES)
async def test_a_late_failure_is_a_json_error_with_its_status(
    api: RunningApi, worker: Rig, path: str
) -> None:
    call = Waiting(api, path)
    await claimed(worker)
    await call.has_spaces()
    await worker.fail("upstream_stalled", "The upstream fell silent.")
    await call.task
    assert call.status == 200
    assert json.loads(call.body) == {
        "error": {
            "message": "The upstream fell silent.",
            "type": "server_error",
            "param": None,
            "code": "upstream_stalled",
            "status": 504,
        }
    }


async def test_a_failure_within_a_heartbeat_has_its_http_status(
    redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url, heartbeat_s=30) as api, openai_client(api.url) as sdk:
        asking = chats.ask(sdk)
        await claimed(worker)
        await worker.fail("upstream_stalled", "The upstream fell silent.")
        with pytest.raises(openai.InternalServerError) as failed:
            await asking
    assert failed.value.status_code == 504


async def test_an_answer_that_a_stopping_server_does_not_await_is_broken_off(
    api: RunningApi, worker: Rig
) -> None:
    call = Waiting(api, chats.URL)
    await claimed(worker)
    await call.has_spaces()
    api.services.streams.drain()
    # A client repeats a call whose connection broke, and not one that got an error in JSON.
    with pytest.raises(httpx2.RemoteProtocolError):
        await call.task


async def test_a_caller_that_leaves_during_white_space_cancels_if_it_said_so(
    api: RunningApi, worker: Rig
) -> None:
    api.client.headers["x-cancel-on-disconnect"] = "true"
    call = Waiting(api, chats.URL)
    await claimed(worker)
    await call.has_spaces()
    call.task.cancel()

    async def is_cancelled() -> bool:
        return (await worker.record(request_id_of(worker))).status == "cancelled"

    await wait_until(is_cancelled, description="the request is cancelled")


async def test_a_proxy_that_gives_up_on_silence_lets_a_slow_answer_through(
    api: RunningApi, worker: Rig
) -> None:
    at = urlsplit(api.url)
    assert at.port
    async with (
        FaultProxy(at.port) as proxy,
        openai_client(f"http://127.0.0.1:{proxy.port}{at.path}") as sdk,
    ):
        proxy.gives_up_after_s = 0.5
        asking: asyncio.Task[Any] = chats.ask(sdk)
        await claimed(worker)
        await asyncio.wait({asking}, timeout=1.5)
        await worker.type("Hello")
        await worker.finish()
        assert (await asking).choices[0].message.content == "Hello"
        assert proxy.given_up == 0
