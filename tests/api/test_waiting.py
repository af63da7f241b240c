"""A call that waits for something in a log sleeps until that is there."""

import asyncio
from collections.abc import Callable

from tickertape.api.fanout.waiting import Waited, Waiting
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.broker.codec import Cursor, encode_data, encode_text

LOG = [
    (Cursor(1, 0), encode_data("queued", {"v": 1})),
    (Cursor(2, 0), encode_data("started", {"v": 1, "prev": "1-0"})),
    (Cursor(2, 1), encode_text("delta", "a")),
    (Cursor(2, 2), encode_data("completed", {})),
]


class _Staying:
    """A client that stays, and is looked at each time that its call wakes."""

    def __init__(self) -> None:
        self.looks = 0

    @property
    def has_left(self) -> bool:
        self.looks += 1
        return False

    def listen(self, wake: Callable[[], None]) -> None:
        """Nothing: the client does not leave."""

    async def stop(self) -> None:
        """Nothing."""


async def test_only_the_entry_that_ends_a_wait_wakes_its_call() -> None:
    watched, client = WatchedLog("r", b"channel"), _Staying()
    waiting = asyncio.create_task(Waiting(watched).until(lambda tape: tape.is_over, client))
    await asyncio.sleep(0)
    for cursor, value in LOG:
        watched.tape.offer(cursor, value)
        watched.wake_all()
        await asyncio.sleep(0)
    assert await waiting is Waited.MET
    assert client.looks == 1
