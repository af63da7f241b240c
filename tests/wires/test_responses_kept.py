"""The stored responses of a tenant, as the official SDK reads them."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.wires.claiming import claimed
from tests.wires.conftest import openai_client
from tests.wires.responding import answered, ask


async def test_every_call_for_a_deleted_response_gets_404(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    done = await answered(sdk, worker, "a")
    running = await ask(sdk, background=True)
    await claimed(worker)
    for response_id in (done.id, running.id):
        await sdk.responses.delete(response_id)
        await assert_missing(sdk, response_id)
        native = await api.client.get(f"/chat/{response_id.removeprefix('resp_')}")
        assert native.status_code == 404


async def assert_missing(sdk: AsyncOpenAI, response_id: str) -> None:
    for call in (
        sdk.responses.retrieve(response_id),
        sdk.responses.retrieve(response_id, stream=True),
        sdk.responses.cancel(response_id),
        sdk.responses.delete(response_id),
        sdk.responses.input_items.list(response_id),
    ):
        with pytest.raises(openai.NotFoundError):
            await call
    with pytest.raises(openai.BadRequestError) as failure:
        await sdk.responses.create(model="m", input="x", previous_response_id=response_id)
    assert failure.value.code == "previous_response_not_found"
    assert failure.value.param == "previous_response_id"


@pytest.mark.parametrize("response_id", ["resp_nothing", "r0_x", "chatcmpl-r0_x", "resp_"])
async def test_an_unknown_response_is_not_found(sdk: AsyncOpenAI, response_id: str) -> None:
    await assert_missing(sdk, response_id)


async def test_a_request_of_another_protocol_is_not_a_response(
    api: RunningApi, sdk: AsyncOpenAI
) -> None:
    await assert_missing(sdk, f"resp_{await api.submit()}")


async def test_a_response_that_has_expired_is_not_found(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    done = await answered(sdk, worker, "a")
    # Redis deletes these keys at the end of the retention.
    request_id = done.id.removeprefix("resp_")
    await api.services.connections.ask(
        "DEL", f"{{p0}}:req:{request_id}", f"{{p0}}:log:{request_id}"
    )
    await assert_missing(sdk, done.id)


async def test_a_response_with_store_false_cannot_be_fetched_later(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    done = await answered(sdk, worker, "a", store=False)
    assert done.output_text == "a"
    for stream in (False, True):
        with pytest.raises(openai.NotFoundError):
            await sdk.responses.retrieve(done.id, stream=stream)


async def test_a_tenant_cannot_find_another_tenants_response(redis_url: str, worker: Rig) -> None:
    async with (
        running_api(redis_url, api_keys="a:the-key-of-the-sdk,b:the-key-of-another") as api,
        openai_client(api.url) as sdk,
    ):
        done = await answered(sdk, worker, "a")
        await assert_missing(sdk.with_options(api_key="the-key-of-another"), done.id)
        assert (await sdk.responses.retrieve(done.id)).output_text == "a"


async def test_a_response_continues_an_earlier_one(sdk: AsyncOpenAI, worker: Rig) -> None:
    first = await answered(sdk, worker, "Ann.", "Who?", instructions="Be brief.")
    second = await answered(sdk, worker, "Bo.", "And?", previous_response_id=first.id)
    asking = ask(sdk, "And?", previous_response_id=second.id, instructions="Be long.")
    payload = await claimed(worker)
    await worker.finish()
    assert (await asking).previous_response_id == second.id
    assert payload["messages"] == [
        {"role": "system", "content": "Be long."},
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "Ann."},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Bo."},
        {"role": "user", "content": "And?"},
    ]


async def test_a_running_response_cannot_be_continued(sdk: AsyncOpenAI, worker: Rig) -> None:
    first = await ask(sdk, background=True)
    with pytest.raises(openai.BadRequestError) as failure:
        await ask(sdk, previous_response_id=first.id)
    assert failure.value.code == "previous_response_active"


async def test_a_chain_of_responses_is_limited_to_the_size_of_a_body(
    redis_url: str, worker: Rig
) -> None:
    async with running_api(redis_url, max_body_bytes=2048) as api, openai_client(api.url) as sdk:
        first = await answered(sdk, worker, "x" * 2000)
        with pytest.raises(openai.BadRequestError) as failure:
            await ask(sdk, previous_response_id=first.id)
    assert failure.value.code == "context_too_large"


async def test_the_input_is_listed_in_pages(sdk: AsyncOpenAI, worker: Rig) -> None:
    items: Any = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": [{"type": "input_text", "text": "three"}]},
    ]
    done = await answered(sdk, worker, "four", items)
    listed: list[Any] = [
        item async for item in await sdk.responses.input_items.list(done.id, limit=2)
    ]
    assert [item.content[0].text for item in listed] == ["three", "two", "one"]
    page: Any = await sdk.responses.input_items.list(done.id, order="asc", limit=2)
    assert [item.id for item in page.data] == [item.id for item in reversed(listed)][:2]
    assert page.has_more
