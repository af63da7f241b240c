"""A follower of a conversation has received an end that a fail-over took back."""

from tests.support.followers import following
from tests.support.keyspace import KEYS
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.sse import text_of
from tests.support.wait import wait_until
from tickertape.broker.codec import encode_data, encode_text


async def push_what_will_be_lost(worker: Rig, request_id: str) -> None:
    """Push the next entries of a log without writing them, as if the primary had died then."""
    last = (await worker.entries(request_id))[-1].cursor
    lost = [encode_text("delta", "lost"), encode_data("completed", {"finish_reason": "stop"})]
    pushed = b"".join(b"%d:%s" % (len(value), value) for value in lost)
    message = f"{last.next()}\n".encode() + pushed
    await worker.connections.ask("SPUBLISH", KEYS.log_channel(request_id), message)


async def test_an_end_is_taken_back_that_was_lost_before_the_turns_were_read_again(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin(
        conversation_id="c1", question=[{"role": "user", "content": "hi"}]
    )
    async with following(f"{api.url}/conversations/c1/stream") as reader:
        await worker.type("a")
        await reader.shows("a")
        await push_what_will_be_lost(worker, request_id)
        await reader.completes()
        await worker.reopen("log_lost")
        await worker.type("a", "b")
        await worker.finish("ab")
        await worker.connections.commands.client_kill_filter(_type="pubsub")

        def has_started_over() -> bool:
            begun = [n for n, event in enumerate(reader.events) if event.kind == "rewind"]
            return bool(begun) and text_of(reader.events[begun[-1] :]) == "ab"

        await wait_until(has_started_over, description="the follower to start over")
    assert [event.kind for event in reader.events].count("rewind") == 1
