"""Webhooks of requests that have ended: each receiver gets each event, whoever dies meanwhile."""

from collections.abc import Mapping
from pathlib import Path

import openai
import pytest
import structlog

from tests.deliver.conftest import Delivering
from tests.support.receiver import SECRET, Receiver, receiving, write_receivers
from tests.support.rig import Rig
from tests.support.wait import wait_until
from tickertape.broker.outbox import Outbox
from tickertape.deliver.given_up import GivenUpWebhooks
from tickertape.deliver.webhooks import WebhookTiming


async def ended(rig: Rig, count: int = 1) -> set[str]:
    """Requests that have ended as cancelled."""
    ids = {await rig.submit() for _ in range(count)}
    for request_id in ids:
        await rig.requests.cancel(request_id, "public")
    return ids


async def all_arrive(receiver: Receiver, ids: set[str]) -> None:
    await wait_until(lambda: {*receiver.types} == ids, description="all events arrive")


async def is_empty(rig: Rig) -> bool:
    backlog = await Outbox(rig.connections).backlog(0, "webhooks")
    return backlog.waiting == backlog.due_again == 0


def by_openais_sdk(body: bytes, headers: Mapping[str, str]) -> tuple[str, str]:
    """The id and the type of an event, as the client of a team reads it."""
    with openai.OpenAI(api_key="key", webhook_secret=SECRET) as client:
        event = client.webhooks.unwrap(body, headers)
    return event.id, event.type


async def test_each_end_has_its_event_with_openais_name_and_no_text(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    expected = {}
    for kind in ("completed", "incomplete", "failed", "cancelled"):
        request_id = await rig.begin(payload={"messages": ["a secret prompt"], "params": {}})
        expected[request_id] = f"response.{kind}"
        await rig.type("a secret answer")
        match kind:
            case "completed":
                await rig.finish()
            case "incomplete":
                await rig.finish(finish_reason="length")
            case "failed":
                await rig.fail(message="a secret reason")
            case _:
                await rig.requests.cancel(request_id, "public")
    async with delivering():
        await all_arrive(receiver, {*expected})
    assert receiver.types == expected
    assert not any(b"secret" in body for body in receiver.bodies)
    unwrapped = [
        by_openais_sdk(*each) for each in zip(receiver.bodies, receiver.heads, strict=True)
    ]
    assert dict(unwrapped) == {f"evt_{each}": kind for each, kind in expected.items()}
    with pytest.raises(openai.InvalidWebhookSignatureError):
        by_openais_sdk(receiver.bodies[0] + b" ", receiver.heads[0])
    assert {*receiver.events} == {f"evt_{request_id}" for request_id in expected}


async def test_the_event_of_a_response_has_the_id_that_openais_clients_know(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    request_id = await rig.submit(head={"wire": "responses"})
    await rig.requests.cancel(request_id, "public")
    async with delivering():
        await all_arrive(receiver, {request_id})
    (event,) = receiver.events.values()
    assert event["data"]["id"] == f"resp_{request_id}"
    assert event["object"] == "event"
    assert event["created_at"] > 1_600_000_000


async def test_a_receiver_that_was_away_gets_all_events_and_each_call_has_the_same_id(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    receiver.statuses.extend([500, 503, 302, 429])
    ids = await ended(rig, 3)
    async with delivering():
        await all_arrive(receiver, ids)
        await wait_until(lambda: is_empty(rig), description="the outbox is empty")
    assert len(receiver.calls) == 7
    assert {*receiver.calls} == {f"evt_{request_id}" for request_id in ids}


async def test_a_killed_receiver_gets_after_its_return_what_it_missed(
    rig: Rig, path: Path, delivering: Delivering
) -> None:
    async with receiving() as first:
        write_receivers(path, one=first.url)
        port = int(first.url.rpartition(":")[2].partition("/")[0])
    ids = await ended(rig, 5)
    async with delivering():

        async def are_due_again() -> bool:
            return (await Outbox(rig.connections).backlog(0, "webhooks")).due_again == 5

        await wait_until(are_due_again, description="the webhooks wait for their receiver")
        async with receiving(port=port) as second:
            await all_arrive(second, ids)
    assert len(second.calls) == 5


@pytest.mark.slow
async def test_a_slow_receiver_delays_no_other(
    rig: Rig, path: Path, receiver: Receiver, delivering: Delivering
) -> None:
    async with receiving() as slow:
        slow.is_answering.clear()
        write_receivers(path, one=receiver.url, slow=slow.url)
        async with delivering(patience_s=5):
            # More than the slow one may be sent at a time.
            ids = await ended(rig, 40)
            await all_arrive(receiver, ids)
            assert not slow.events
            slow.is_answering.set()
            await all_arrive(slow, ids)
    assert len(receiver.calls) == 40


@pytest.mark.slow
async def test_a_process_that_dies_in_the_middle_is_replaced_and_nothing_is_lost(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    ids = await ended(rig, 3)
    receiver.is_answering.clear()
    async with delivering():
        await wait_until(lambda: len(receiver.calls) == 3, description="three calls are under way")
    # It died before any answer came, and the next one waits for the end of its lease.
    receiver.is_answering.set()
    async with delivering():
        await wait_until(lambda: is_empty(rig), description="the outbox is empty")
    assert len(receiver.calls) == 6
    assert {*receiver.calls} == {f"evt_{request_id}" for request_id in ids}


@pytest.mark.slow
async def test_two_processes_send_each_webhook_once(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    async with delivering(lease_s=60), delivering(lease_s=60):
        ids = await ended(rig, 20)
        await all_arrive(receiver, ids)
        await wait_until(lambda: is_empty(rig), description="the outbox is empty")
    assert len(receiver.calls) == 20


@pytest.mark.parametrize("how", ["too often", "gone", "too old"])
async def test_a_webhook_that_nobody_takes_is_given_up_and_kept_for_people(
    rig: Rig, receiver: Receiver, delivering: Delivering, how: str
) -> None:
    receiver.statuses.extend([410] if how == "gone" else [500] * 9)
    timing = WebhookTiming(
        pauses_s=(0.01, 0.01), busy_s=0.01, give_up_s=-1 if how == "too old" else 999
    )
    (request_id,) = await ended(rig)
    outbox = Outbox(rig.connections)

    async def is_given_up() -> bool:
        return (await outbox.backlog(0, "webhooks")).given_up == 1

    async with delivering(timing):
        await wait_until(is_given_up, description="the webhook is given up")
    (kept,) = await GivenUpWebhooks(rig.connections).listed()
    assert kept.webhook.request_id == request_id
    assert kept.webhook.reason == ("status 410" if how == "gone" else "status 500")
    assert len(receiver.calls) == {"gone": 1, "too old": 1, "too often": 3}[how]
    assert await is_empty(rig)


async def test_a_webhook_that_people_send_again_gets_all_its_tries_and_its_time_again(
    rig: Rig, receiver: Receiver, delivering: Delivering
) -> None:
    receiver.statuses.extend([410])
    ids = await ended(rig)
    given_up = GivenUpWebhooks(rig.connections)

    async def are_given_up() -> bool:
        return bool(await given_up.listed())

    async with delivering():
        await wait_until(are_given_up, description="the webhook is given up")
    receiver.statuses.extend([500, 500])
    # It ended a long time ago.
    (kept,) = await given_up.listed()
    await given_up.retry(kept)
    async with delivering(WebhookTiming(pauses_s=(0.02, 0.02), give_up_s=60)):
        await all_arrive(receiver, ids)
    assert {*receiver.calls} == {f"evt_{request_id}" for request_id in ids}
    assert await given_up.listed() == []


async def test_no_log_has_a_secret_an_address_or_a_text_whatever_a_receiver_does(
    rig: Rig, path: Path, receiver: Receiver, delivering: Delivering
) -> None:
    receiver.statuses.extend([500, 302])
    receiver.headers = {"Location": "http://169.254.169.254/passw0rd"}
    write_receivers(
        path,
        one=receiver.url.replace("http://", "http://user:passw0rd@"),
        away="http://127.0.0.1:9/passw0rd",
    )
    request_id = await rig.begin(payload={"messages": ["passw0rd"], "params": {}})
    await rig.fail(message="passw0rd")
    with structlog.testing.capture_logs() as lines:
        async with delivering(WebhookTiming(pauses_s=(0.01,) * 3, busy_s=0.05)):
            await all_arrive(receiver, {request_id})
            await wait_until(lambda: is_empty(rig), description="the other one is given up")
    assert {"a webhook was not accepted", "a webhook was given up"} <= {
        line["event"] for line in lines
    }
    assert not any(word in str(lines) for word in ("passw0rd", SECRET, "127.0.0.1", "169.254"))


async def test_a_receiver_that_left_the_file_gets_nothing_more(
    rig: Rig, path: Path, receiver: Receiver, delivering: Delivering
) -> None:
    receiver.statuses.extend([500] * 9)
    await ended(rig)
    async with delivering(WebhookTiming(pauses_s=(0.1,) * 9)):
        await receiver.arrived.wait()
        write_receivers(path, other="http://127.0.0.1:9/hook")
        await wait_until(lambda: is_empty(rig), description="the webhook is dropped")
    assert len(receiver.calls) == 1


async def test_an_end_that_no_receiver_wants_leaves_the_outbox(
    rig: Rig, path: Path, receiver: Receiver, delivering: Delivering
) -> None:
    path.write_text(path.read_text() + 'tenants = ["other"]\n')
    await ended(rig, 2)
    async with delivering():
        await wait_until(lambda: is_empty(rig), description="the outbox is empty")
    assert not receiver.calls
