"""Chains of responses: each stores its own messages, and refers to those before it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import answer
from tests.support.upstream import ScriptedUpstream
from tests.wires.claiming import claimed
from tests.wires.conftest import openai_client
from tests.wires.responding import answered, ask
from tickertape.api.asking import Ask, fingerprint
from tickertape.runtime.settings import Settings

MEGABYTE = 1_000_000


async def stored_bytes(api: RunningApi) -> int:
    """The bytes of all values in Redis."""
    ask_redis = api.services.connections.ask
    return sum([len(await ask_redis("DUMP", name)) for name in await ask_redis("KEYS", "*")])


def request_of(response: Any) -> str:
    return str(response.id).removeprefix("resp_")


async def expire(api: RunningApi, response: Any) -> None:
    """Delete what Redis deletes at the end of the retention."""
    keys, request_id = api.services.connections.keys, request_of(response)
    await api.services.connections.ask("DEL", keys.request(request_id), keys.log(request_id))


async def messages_after(sdk: AsyncOpenAI, worker: Rig, response: Any) -> list[tuple[str, str]]:
    """The messages that reach the worker from a response that follows this one."""
    asking = ask(sdk, "last", previous_response_id=response.id)
    payload = await claimed(worker)
    await worker.finish()
    await asking
    return [(message["role"], message["content"]) for message in payload["messages"]]


async def test_ninety_bytes_do_not_keep_a_megabyte(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    # Redis compresses what repeats itself in a dump.
    first = last = await answered(sdk, worker, "a", bytes(range(32, 127)).decode() * 10000)
    await answered(sdk, worker, "b", "c" * 90, previous_response_id=first.id)
    before = await stored_bytes(api)
    for _ in range(10):
        last = await answered(sdk, worker, "b", "c" * 90, previous_response_id=last.id)
        await answered(sdk, worker, "b", "d" * 90, previous_response_id=first.id)
    assert await stored_bytes(api) - before < 20 * 4000


async def test_a_long_chain_is_whole_and_in_order(sdk: AsyncOpenAI, worker: Rig) -> None:
    last: Any = None
    for number in range(40):
        follows = {"previous_response_id": last.id} if last else {}
        last = await answered(sdk, worker, f"a{number}", f"q{number}", **follows)
    said = [(role, f"{letter}{n}") for n in range(40) for role, letter in ROLES]
    assert await messages_after(sdk, worker, last) == [*said, ("user", "last")]


ROLES = (("user", "q"), ("assistant", "a"))


async def test_a_parent_that_expires_is_lost_neither_to_a_waiting_response_nor_to_later_ones(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    first = await answered(sdk, worker, "a0", "q0")
    asking = ask(sdk, "q1", previous_response_id=first.id)
    await claimed(worker)
    await worker.queue.release(worker.lease)  # type: ignore[arg-type]
    await expire(api, first)
    payload = await claimed(worker)
    assert [message["content"] for message in payload["messages"]] == ["q0", "a0", "q1"]
    await worker.type("a1")
    await worker.finish()
    second = await asking
    assert await messages_after(sdk, worker, second) == [
        ("user", "q0"),
        ("assistant", "a0"),
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "last"),
    ]


async def test_what_a_chain_needs_is_kept_for_as_long_as_the_chain_goes_on(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    connections = api.services.connections
    last = first = await answered(sdk, worker, "a", "q")
    for _ in range(3):
        last = await answered(sdk, worker, "a", "q", previous_response_id=last.id)
        name = connections.keys.exchange(request_of(first))
        assert await connections.ask("TTL", name) > api.services.settings.retention_s
        await connections.ask("EXPIRE", name, 60)


async def test_after_a_delete_no_later_response_gets_what_was_deleted_and_a_running_one_ends(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    first = await answered(sdk, worker, "the-marker", "q0")
    second = await answered(sdk, worker, "a1", "q1", previous_response_id=first.id)
    asking = ask(sdk, "q2", previous_response_id=second.id)
    await claimed(worker)
    await sdk.responses.delete(first.id)
    await worker.type("a2")
    await worker.finish()
    third = await asking
    for parent in (first, second, third):
        with pytest.raises(openai.BadRequestError) as failure:
            await ask(sdk, previous_response_id=parent.id)
        assert failure.value.code == "previous_response_not_found"
    assert (await sdk.responses.retrieve(third.id)).output_text == "a2"
    ask_redis = api.services.connections.ask
    dumps = [await ask_redis("DUMP", name) for name in await ask_redis("KEYS", "*")]
    assert not any(b"the-marker" in dump for dump in dumps)


async def test_what_an_expired_response_said_can_be_deleted(
    api: RunningApi, sdk: AsyncOpenAI, worker: Rig
) -> None:
    first = await answered(sdk, worker, "a0", "q0")
    second = await answered(sdk, worker, "a1", "q1", previous_response_id=first.id)
    await expire(api, first)
    await sdk.responses.delete(first.id)
    with pytest.raises(openai.BadRequestError) as failure:
        await ask(sdk, previous_response_id=second.id)
    assert failure.value.code == "previous_response_not_found"
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.delete(first.id)


async def test_what_an_expired_response_said_cannot_be_deleted_by_another_tenant(
    redis_url: str, worker: Rig
) -> None:
    async with (
        running_api(redis_url, api_keys="a:the-key-of-the-sdk,b:the-key-of-another") as api,
        openai_client(api.url) as sdk,
    ):
        first = await answered(sdk, worker, "a0", "q0")
        second = await answered(sdk, worker, "a1", "q1", previous_response_id=first.id)
        await expire(api, first)
        with pytest.raises(openai.NotFoundError):
            await sdk.with_options(api_key="the-key-of-another").responses.delete(first.id)
        assert len(await messages_after(sdk, worker, second)) == 5


async def test_a_response_that_version_0_1_stored_with_its_whole_context_is_a_parent(
    sdk: AsyncOpenAI, worker: Rig
) -> None:
    echo = {
        "response": {"store": True},
        "input": [{"type": "message", "role": "user", "content": "q1"}],
        "context": [
            {"role": "user", "content": "q0"},
            {"role": "assistant", "content": "a0"},
        ],
    }
    request_id = await worker.submit(head={"wire": "responses"}, echo=echo)
    await worker.claim()
    await worker.type("a1")
    await worker.finish()
    stored = await sdk.responses.retrieve(f"resp_{request_id}")
    following = await answered(sdk, worker, "a2", "q2", previous_response_id=stored.id)
    assert await messages_after(sdk, worker, following) == [
        *((role, f"{letter}{n}") for n in range(3) for role, letter in ROLES),
        ("user", "last"),
    ]


async def test_a_chain_goes_over_several_partitions(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings(openai_base_url=upstream.base_url, partitions=4)
    async with (
        running_api(redis_url, partitions=4) as api,
        openai_client(api.url) as sdk,
        working(redis_url, settings),
    ):
        last: Any = None
        for number in range(12):
            upstream.enqueue(answer(f"a{number}"))
            follows = {"previous_response_id": last.id} if last else {}
            last = await ask(sdk, f"q{number}", **follows)
    sent = [message["content"] for message in upstream.calls[-1].body["messages"]]
    assert sent == [f"{letter}{n}" for n in range(12) for letter in "qa"][:-1]


def test_a_reference_changes_nothing_about_what_is_a_repetition() -> None:
    echo = {"context": [{"role": "user", "content": "q"}]}
    whole = Ask(wire="responses", messages=[], echo=echo)
    refers = Ask(wire="responses", messages=[], echo=echo, kept_echo={"context": None})
    assert fingerprint(whole) == fingerprint(refers)
