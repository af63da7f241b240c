"""The spans of calls that do not read the record of their request: long streams, and cancels."""

import asyncio

from tests.support.followers import following
from tests.support.script import Finish, Text, Wait
from tests.support.spans import Seen
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tests.traces.traced import CONTEXT, TRACE, traced


async def test_a_reader_of_a_conversation_is_in_the_trace_of_each_request_that_it_follows(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    gate = asyncio.Event()
    upstream.script = [Text("a"), Wait(gate), Finish()]
    body = {"conversations": [{"conversation_id": "c"}]}
    async with traced(redis_url, upstream) as running:
        api = running.api
        request_id = await api.submit("hi", conversation_id="c")
        async with (
            following(f"{api.url}/conversations/c/stream") as alone,
            following(f"{api.url}/streams", body=body) as many,
        ):
            await alone.shows("a")
            await many.shows("a")
            gate.set()

            def reads() -> list[Seen]:
                running.spans.collect()
                return running.spans.named("read")

            await wait_until(lambda: len(reads()) == 2, description="both spans")
        # What has ended is a replay, of which a reader of a conversation may see very many.
        async with following(f"{api.url}/conversations/c/stream") as later:
            await later.shows("a")
        assert len(reads()) == 2
    submit = running.spans.one("submit")
    for read in running.spans.named("read"):
        assert (read.parent_id, read.trace_id) == (submit.span_id, submit.trace_id)
        assert read.attributes["tickertape.request_id"] == request_id
        assert read.attributes["tickertape.wire"] == "conversation"


async def test_a_cancel_is_a_span_in_the_trace_of_its_request_and_is_linked_to_its_callers(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with traced(redis_url, upstream) as running:
        request_id = await running.api.submit()
        for path in (f"/chat/{request_id}/cancel", "/chat/r0_none/cancel"):
            await running.api.client.post(path, headers=CONTEXT)
        await running.ended("cancel")
        cancel, submit = running.spans.named("cancel")[0], running.spans.one("submit")
    assert (cancel.parent_id, cancel.links, cancel.is_error) == (submit.span_id, (TRACE,), False)
