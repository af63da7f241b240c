"""How calls of Chat Completions end after a fault, as the official SDK reads them."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, Omit
from openai.types.chat import ChatCompletionChunk

from tests.support.rig import TENANT, Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tests.wires.chats import HI, URL, ask, read, text_of
from tests.wires.claiming import claimed
from tests.wires.conftest import openai_client
from tickertape.api.services import ApiTiming


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("upstream_rate_limited", 429, "rate_limit_exceeded"),
        ("upstream_rejected", 400, "upstream_rejected"),
        ("upstream_error", 502, "upstream_error"),
        ("upstream_unreachable", 503, "upstream_unreachable"),
        ("upstream_stalled", 504, "upstream_stalled"),
        ("poison", 500, "poison"),
    ],
)
async def test_a_failure_before_any_output_is_an_http_error(
    sdk: AsyncOpenAI, worker: Rig, code: str, status: int, said: str, *, stream: bool
) -> None:
    asking = ask(sdk, stream=stream)
    await claimed(worker)
    await worker.fail(code, "The upstream said no.")
    with pytest.raises(openai.APIStatusError) as failure:
        await asking
    assert failure.value.status_code == status
    assert failure.value.code == said
    assert "The upstream said no." in str(failure.value)
    headers = failure.value.response.headers
    assert headers["x-should-retry"] == "false"
    assert worker.lease is not None
    assert headers["x-request-id"] == worker.lease.request_id
    assert ("retry-after" in headers) == (status in {429, 503})


# A client that cancels by leaving keeps a task; all other streams are handed over to the fan-out.
WAYS_TO_READ = pytest.mark.parametrize(
    "headers", [{}, {"x-cancel-on-disconnect": "true"}], ids=["handed over", "kept"]
)


@WAYS_TO_READ
async def test_a_failure_in_the_middle_is_an_error_and_not_an_orderly_end(
    sdk: AsyncOpenAI, worker: Rig, headers: dict[str, str]
) -> None:
    asking = ask(sdk, stream=True, extra_headers=headers)
    await claimed(worker)
    await worker.type("half")
    stream = await asking
    await worker.fail("upstream_truncated", "It broke off.")
    chunks: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="It broke off") as failure:
        await read(stream, chunks)
    assert text_of(chunks) == "half"
    assert failure.value.code == "upstream_truncated"


@WAYS_TO_READ
async def test_an_answer_that_starts_over_after_output_ends_with_an_error(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig, headers: dict[str, str]
) -> None:
    # As if Redis had lost the output, which no policy of the request prevents.
    asking = ask(sdk, stream=True, extra_headers=headers)
    await claimed(worker)
    await worker.type("half")
    stream = await asking
    assert worker.lease is not None
    key = f"{{p0}}:req:{worker.lease.request_id}"
    await api.services.connections.ask("HSET", key, "policy", "restart")
    await worker.reopen()
    with pytest.raises(openai.APIError, match="started over"):
        await read(stream)
    await worker.type("whole")
    await worker.finish()
    answer = await api.read(worker.lease.request_id)
    assert answer["text"] == "whole"
    assert answer["wire"] == "chat_completions"


@WAYS_TO_READ
async def test_a_stream_that_ended_with_an_error_is_closed_while_its_log_continues(
    api: RunningApi, worker: Rig, headers: dict[str, str]
) -> None:
    body = {"messages": [HI], "stream": True}
    sending = asyncio.create_task(api.client.post(URL, json=body, headers=headers))
    await claimed(worker)
    await worker.type("half")
    assert worker.lease is not None
    key = f"{{p0}}:req:{worker.lease.request_id}"
    await api.services.connections.ask("HSET", key, "policy", "restart")
    await worker.reopen()
    last = (await sending).content.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
    assert b'"code":"interrupted"' in last
    assert (await api.read(worker.lease.request_id))["status"] == "running"


async def test_a_cancelled_call_gets_an_error_that_names_the_cancel(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    plain, streaming = ask(sdk), ask(sdk, stream=True)
    await claimed(worker)
    assert worker.lease is not None
    await api.client.post(f"/chat/{worker.lease.request_id}/cancel")
    await claimed(worker)
    await worker.type("half")
    stream = await streaming
    await api.client.post(f"/chat/{worker.lease.request_id}/cancel")
    with pytest.raises(openai.BadRequestError, match="cancelled"):
        await plain
    with pytest.raises(openai.APIError, match="cancelled"):
        await read(stream)


async def test_a_stream_does_not_wait_indefinitely_for_its_start(
    redis_url: str, worker: Rig
) -> None:
    timing = ApiTiming(head_delay_s=0.1)
    async with running_api(redis_url, timing=timing) as api, openai_client(api.url) as sdk:
        stream = await ask(sdk, stream=True)
        await claimed(worker)
        await worker.fail("upstream_error", "Too late for a status.")
        with pytest.raises(openai.APIError, match="Too late"):
            await read(stream)


async def test_a_client_that_leaves_cancels_its_request_only_if_it_asked_for_that(
    api: RunningApi, worker: Rig
) -> None:
    wanted: dict[str, Any] = {"extra_headers": {"x-cancel-on-disconnect": "true"}}
    # The server pauses its reading of such a body.
    large = {"messages": [{"role": "user", "content": "hi " * 100_000}]}
    ids = {}
    for name, stream, fields in (
        ("kept", True, {}),
        ("kept plain", False, {}),
        ("dropped", True, wanted),
        ("dropped plain", False, wanted),
        ("dropped early", True, wanted),
        ("dropped early with a large body", True, wanted | large),
    ):
        async with openai_client(api.url) as sdk:
            asking = ask(sdk, stream=stream, **fields)
            await claimed(worker)
            assert worker.lease is not None
            ids[name] = worker.lease.request_id
            if stream and "early" not in name:
                await worker.type("a")
                await (await asking).close()
            else:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
    for name, request_id in ids.items():
        if name.startswith("dropped"):

            async def is_cancelled(request_id: str = request_id) -> bool:
                return bool((await api.read(request_id))["status"] == "cancelled")

            await wait_until(is_cancelled, description=f"{name} is cancelled")
    for name in ("kept", "kept plain"):
        assert (await api.read(ids[name]))["status"] == "running"


@WAYS_TO_READ
async def test_a_shutdown_aborts_streams_and_refuses_plain_calls(
    redis_url: str, worker: Rig, headers: dict[str, str]
) -> None:
    async with running_api(redis_url) as api, openai_client(api.url) as sdk:
        streaming = ask(sdk, stream=True, extra_headers=headers)
        await claimed(worker)
        await worker.type("a")
        stream = await streaming
        # The SDK counts its tries, so that a repeated call finds the request. Others do not.
        counted = ask(sdk)
        await claimed(worker)
        plain = ask(sdk, extra_headers={"x-stainless-retry-count": Omit()})
        await claimed(worker)
        keyed = ask(sdk, extra_headers={"Idempotency-Key": "k-1"})
        await claimed(worker)
        api.services.streams.drain()
        with pytest.raises(openai.APIConnectionError):
            await read(stream)
        for call, may_be_repeated in ((plain, "false"), (counted, "true"), (keyed, "true")):
            with pytest.raises(openai.InternalServerError) as failure:
                await call
            assert failure.value.status_code == 503
            assert failure.value.response.headers["x-should-retry"] == may_be_repeated
        # The request continues although this process ends.
        request_id = stream.response.headers["x-request-id"]
        assert (await worker.requests.get(request_id, TENANT)).status == "running"
        with pytest.raises(openai.InternalServerError):
            await ask(sdk, stream=True)
