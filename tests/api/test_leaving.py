"""On servers other than ours, a call that waits learns by ASGI that its client has left."""

import asyncio

from starlette.types import Message

from tickertape.api.fanout.leaving import leaving_of


class _Client:
    """Leaves when `left` is set."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def receive(self) -> Message:
        await self.left.wait()
        return {"type": "http.disconnect"}


async def test_a_client_that_leaves_is_noticed_on_a_server_that_offers_nothing() -> None:
    client, woken = _Client(), asyncio.Event()
    leaving = leaving_of({"type": "http"}, client.receive)
    leaving.listen(woken.set)
    seen = [leaving.has_left]
    client.left.set()
    await woken.wait()
    seen.append(leaving.has_left)
    assert seen == [False, True]
    await leaving.stop()


async def test_a_wait_that_is_over_leaves_no_task_behind() -> None:
    before = asyncio.all_tasks()
    leaving = leaving_of({"type": "http"}, _Client().receive)
    leaving.listen(asyncio.Event().set)
    await leaving.stop()
    assert asyncio.all_tasks() == before
