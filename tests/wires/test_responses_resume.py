"""Responses in the background: polled, resumed, cancelled, as the official SDK reads them."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response

from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.wires.claiming import claimed
from tests.wires.conftest import openai_client
from tests.wires.responding import URL, USAGE, answered, ask, checked, read
from tickertape.runtime.settings import Settings


async def test_a_background_response_is_there_at_once_and_can_be_polled(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    answer: Response = await ask(sdk, background=True)
    seen = [answer.status]
    await claimed(worker)
    await worker.type("half")
    polled = await sdk.responses.retrieve(answer.id)
    seen.append(polled.status)
    assert polled.output_text == "half"
    assert polled.completed_at is None
    await worker.finish(usage=USAGE)
    polled = await sdk.responses.retrieve(answer.id)
    seen.append(polled.status)
    assert seen == ["queued", "in_progress", "completed"]
    assert polled.background is True
    assert polled.completed_at is not None
    assert (polled.id, polled.created_at) == (answer.id, answer.created_at)


async def test_a_background_stream_that_is_cut_anywhere_resumes_at_another_process(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig, redis_url: str
) -> None:
    texts = [f"{number} " for number in range(50)]
    stream = await ask(sdk, background=True, stream=True)
    await claimed(worker)
    await worker.type(*texts[:25])
    # A client's events when its connection breaks, for every position of the break.
    head = [await anext(stream) for _ in range(30)]
    async with running_api(redis_url) as other, openai_client(other.url) as resumer:

        async def resume(number: int) -> list[Any]:
            rest = await resumer.responses.retrieve(
                head[0].response.id, stream=True, starting_after=number
            )
            return await read(rest)

        resuming = [asyncio.create_task(resume(event.sequence_number)) for event in head]
        await wait_until(
            lambda: other.services.streams.open_streams == len(head), description="all resume"
        )
        await worker.type(*texts[25:])
        await worker.finish()
        live = head + await read(stream)
        for got, rest in enumerate(await asyncio.gather(*resuming), start=1):
            assert head[:got] + rest == live
        # Resume the finished response after every event.
        for event in live:
            whole = live[: event.sequence_number + 1] + await resume(event.sequence_number)
            assert whole == live
    assert checked(live)[:3] == ["created", "queued", "in_progress"]
    assert live[-1].response.output_text == "".join(texts)
    assert len([event for event in live if event.type == "response.output_text.delta"]) == 50


async def test_two_resumers_get_the_same_bytes(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    answer = await ask(sdk, background=True)
    await claimed(worker)
    await worker.type("a", "b")
    path = f"{URL}/{answer.id}?stream=true&starting_after=1"
    resuming = [asyncio.create_task(api.client.get(path)) for _ in range(2)]
    await wait_until(lambda: api.services.streams.open_streams == 2, description="both resume")
    await worker.type("c")
    await worker.finish()
    first, second = await asyncio.gather(*resuming)
    assert first.content == second.content
    assert first.content == (await api.client.get(path)).content
    for line in first.content.split(b"\n"):
        assert line == b"" or line.startswith((b"event: ", b"data: ", b": "))


async def test_the_sdks_helper_resumes_by_id(sdk: AsyncOpenAI, worker: Rig) -> None:
    answer = await ask(sdk, background=True)
    await claimed(worker)
    await worker.type("Hel", "lo")
    await worker.finish()
    async with sdk.responses.stream(response_id=answer.id, starting_after=6) as stream:
        events = await read(stream)
        final = await stream.get_final_response()
    assert events[0].sequence_number == 7
    assert final.output_text == "Hello"


async def test_a_reader_ahead_of_this_process_resumes_without_starting_over(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await ask(sdk, background=True)
    await claimed(worker)
    hub = api.services.streams.hub
    async with hub.watch(answer.id.removeprefix("resp_")):
        # Without this method pushes have no effect, as if they were late.
        monkeypatch.setattr(hub, "on_pushed", lambda channel, message: None)
        await worker.type("a", "b", "c")
        rest = await sdk.responses.retrieve(answer.id, stream=True, starting_after=6)
        monkeypatch.undo()
        await worker.finish()
        events = await read(rest)
    assert events[0].sequence_number == 7
    assert events[-1].response.output_text == "abc"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("starting_after=x", 400),
        ("starting_after=-1", 400),
        ("starting_after=99", 400),
        ("starting_after=9e9", 400),
        ("starting_after=" + "9" * 30, 400),
        ("starting_after=", 400),
    ],
)
async def test_a_malformed_starting_after_is_refused(
    api: RunningApi, sdk: AsyncOpenAI, query: str, status: int
) -> None:
    answer = await ask(sdk, background=True)
    got = await api.client.get(f"{URL}/{answer.id}?stream=true&{query}")
    assert got.status_code == status
    assert got.json()["error"]["param"] == "starting_after"


@pytest.mark.parametrize(
    ("fields", "policy"),
    [({}, "restart"), ({"background": True}, "restart")]
    + [({"stream": True, "background": each}, "continue") for each in (False, True)],
)
async def test_a_streamed_response_continues_and_a_polled_one_starts_over(
    sdk: AsyncOpenAI, worker: Rig, fields: dict[str, bool], policy: str
) -> None:
    asking = ask(sdk, **fields)
    assert (await claimed(worker))["on_interruption"] == policy
    await worker.finish()
    answer = await asking
    if fields.get("stream"):
        await read(answer)


async def test_a_background_response_that_starts_over_ends_its_streams_and_is_polled_complete(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    response_id = (await ask(sdk, background=True)).id
    await claimed(worker)
    stream = await sdk.responses.retrieve(response_id, stream=True)
    await worker.type("wrong")
    await worker.reopen()
    with pytest.raises(openai.APIError, match="started over"):
        await read(stream)
    await worker.type("right")
    await worker.finish()
    polled = await sdk.responses.retrieve(response_id)
    assert (polled.status, polled.output_text) == ("completed", "right")
    with pytest.raises(openai.APIError, match="started over"):
        await read(await sdk.responses.retrieve(response_id, stream=True))


async def test_a_cancelled_response_keeps_its_output_and_stays_cancelled(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    stream = await ask(sdk, background=True, stream=True)
    await claimed(worker)
    await worker.type("half")
    assert worker.lease is not None
    response_id = f"resp_{worker.lease.request_id}"
    for _ in range(2):
        cancelled = await sdk.responses.cancel(response_id)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", "half")
    events = await read(stream)
    assert checked(events)[-1] == "cancelled"
    assert events[-1].response["status"] == "cancelled"


async def test_only_background_responses_are_cancelled_and_completed_ones_stay(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    foreground = await answered(sdk, worker, "a")
    with pytest.raises(openai.BadRequestError, match="synchronous"):
        await sdk.responses.cancel(foreground.id)
    background = await ask(sdk, background=True)
    await claimed(worker)
    await worker.finish()
    assert (await sdk.responses.cancel(background.id)).status == "completed"


async def test_a_shutdown_aborts_streams(redis_url: str, worker: Rig) -> None:
    async with running_api(redis_url) as api, openai_client(api.url) as sdk:
        stream = await ask(sdk, background=True, stream=True)
        await claimed(worker)
        await worker.type("a")
        events = [await anext(stream) for _ in range(6)]
        api.services.streams.drain()
        with pytest.raises(openai.APIConnectionError):
            await read(stream)
    await worker.finish()
    async with running_api(redis_url) as api, openai_client(api.url) as sdk:
        rest = await sdk.responses.retrieve(events[0].response.id, stream=True, starting_after=5)
        assert checked(events + await read(rest))[-1] == "completed"


async def test_a_repeated_call_with_its_key_is_the_same_response(sdk: AsyncOpenAI) -> None:
    headers = {"Idempotency-Key": "k"}
    first = await ask(sdk, background=True, extra_headers=headers)
    assert (await ask(sdk, background=True, extra_headers=headers)).id == first.id
    with pytest.raises(openai.BadRequestError):
        await ask(sdk, "else", background=True, extra_headers=headers)


async def test_a_cancel_closes_the_upstream(
    sdk: AsyncOpenAI, redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = [Text("half"), Wait(asyncio.Event())]
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with working(redis_url, settings):
        stream = await ask(sdk, background=True, stream=True)
        first = await anext(stream)
        await wait_until(
            lambda: bool(upstream.calls and upstream.calls[0].deltas_sent),
            description="the upstream to send text",
        )
        assert (await sdk.responses.cancel(first.response.id)).status == "cancelled"
        await wait_until(upstream.calls[0].closed.is_set, description="the upstream is closed")
        assert (await read(stream))[-1].type == "response.cancelled"
