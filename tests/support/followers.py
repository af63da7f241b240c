"""Follows an event stream while a test does something else, and reconnects if asked to.

A follower that comes back is an ordinary client, so the Python client reads for it. The other one
reads one connection as a strict client does.
`tests/chaos/readers.py` is the other reader: it leaves early, reads slowly and resumes in each of
the three ways, and it records what is odd instead of failing.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from tests.support.sse import TERMINAL_EVENTS, Event, follow, text_of
from tests.support.wait import wait_until
from tickertape.client import AsyncClient, Timing

_TIMING = Timing(longest_wait_s=0.05)


class Follower:
    """The events that one reader received so far."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self, url: str, headers: Mapping[str, str] | None, body: object) -> None:
        """Follow one connection until the server ends the stream."""
        self._task = asyncio.current_task()
        stream = follow(url, headers, body=body, until_terminal=False)
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self.events.append(event)

    async def read_to_terminal(self, url: str) -> None:
        """Follow over many connections, as the Python client does."""
        self._task = asyncio.current_task()
        base, _, request_id = url.removesuffix("/stream").rpartition("/chat/")
        async with AsyncClient(base, "", timing=_TIMING) as client:
            async for event in client.follow(request_id):
                self.events.append(Event(event.cursor, event.kind, event.data))

    @property
    def text(self) -> str:
        return text_of(self.events)

    @property
    def kinds(self) -> list[str]:
        """The kinds of all events except deltas."""
        return [event.kind for event in self.events if event.kind != "delta"]

    @property
    def last_cursor(self) -> str:
        """The cursor to resume after; empty before the first one."""
        cursors = (event.cursor for event in reversed(self.events))
        return next((cursor for cursor in cursors if cursor is not None), "")

    @property
    def terminals(self) -> list[Event]:
        return [event for event in self.events if event.kind in TERMINAL_EVENTS]

    @property
    def has_ended(self) -> bool:
        """Whether the stream has ended; raises the error that ended it."""
        if self._task is None or not self._task.done():
            return False
        self._task.result()
        return True

    async def starts_with(self, text: str) -> None:
        """Wait until the text starts with `text`."""
        await wait_until(
            lambda: self.text.startswith(text) or self.has_ended,
            description=f"a reader to see {text!r} first",
        )
        assert self.text.startswith(text)

    async def shows(self, text: str) -> None:
        """Wait until the text is exactly `text`."""
        await wait_until(lambda: self.text == text, description=f"a reader to see {text!r}")

    async def contains(self, word: str, timeout_s: float = 20) -> None:
        """Wait until the text contains `word`."""
        await wait_until(
            lambda: word in self.text, timeout_s=timeout_s, description=f"a reader to see {word!r}"
        )

    async def receives(self, kind: str) -> None:
        """Wait for an event of this kind."""
        await wait_until(
            lambda: kind in self.kinds or self.has_ended, description=f"a reader to get {kind!r}"
        )
        assert kind in self.kinds

    async def completes(self) -> None:
        """Wait for a terminal event, after which some streams stay open."""
        await wait_until(
            lambda: self.terminals or self.has_ended, description="a reader to see the end"
        )

    async def ends(self, timeout_s: float = 20) -> None:
        """Wait until the stream has ended; raises the error that broke it."""
        await wait_until(
            lambda: self.has_ended, timeout_s=timeout_s, description="a reader's stream to end"
        )


@contextlib.asynccontextmanager
async def following(
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    body: object = None,
    comes_back: bool = False,
) -> AsyncIterator[Follower]:
    """Follow `url` until it ends or the block does; the end of the block cuts the connection.

    A follower that comes back reconnects until it has the terminal event. The other one stays on
    its connection until the server ends the stream, also after a terminal event. A `body` is sent
    with POST.
    """
    follower = Follower()
    read = follower.read_to_terminal(url) if comes_back else follower.read(url, headers, body)
    task = asyncio.create_task(read, name=f"following {url}")
    try:
        yield follower
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
