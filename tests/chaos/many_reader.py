"""A reader of several conversations over one connection, as all tabs of a browser are."""

import asyncio
import random
from collections.abc import Mapping

import aiohttp

from tests.chaos.client import Client
from tests.chaos.history import Subscriber
from tests.chaos.readers import BROKEN, COME_BACK_WITHIN_S, SILENCE_S, Manner
from tests.support.sse import SseParser


class ManyReader:
    """Reads `POST /streams` into a subscriber for each conversation, until cancelled."""

    def __init__(
        self, client: Client, subscribers: Mapping[str, Subscriber], manner: Manner
    ) -> None:
        self._client = client
        self._subscribers = subscribers
        self._manner = manner
        self._rng = random.Random(f"many {client.tenant}")

    async def run(self) -> None:
        """Read over as many connections as it takes."""
        while True:
            for subscriber in self._subscribers.values():
                subscriber.connections += 1
            try:
                await self._connect()
            except BROKEN:
                pass
            except AssertionError as error:
                self._odd(f"received what is not an event: {error}")
            await asyncio.sleep(self._rng.uniform(0, COME_BACK_WITHIN_S))

    async def _connect(self) -> None:
        followed = [
            {"conversation_id": name, "after": _cursor(subscriber)}
            for name, subscriber in self._subscribers.items()
        ]
        async with self._client.session.post(
            self._client.url("/streams"),
            json={"conversations": followed},
            headers=self._client.headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S),
        ) as response:
            if response.status == 200:
                await self._follow(response)
            elif response.status != 503:
                self._odd(f"was answered {response.status}")

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        parser = SseParser()
        current: Subscriber | None = None
        taken = 0
        async for data in response.content.iter_any():
            for event in parser.feed(data):
                if event.kind == "conversation":
                    current = self._subscribers[event.data["conversation_id"]]
                    continue
                assert current is not None, f"{event} before its conversation was named"
                current.events.append(event)
                taken += 1
                if taken == self._manner.leaves_after:
                    return
            await asyncio.sleep(self._manner.pause_s)
        parser.close()

    def _odd(self, text: str) -> None:
        self._client.history.odd.append(f"the reader of many of {self._client.tenant} {text}")


def _cursor(subscriber: Subscriber) -> str | None:
    """The last id, unless it is the empty one of a rewind."""
    ids = (event.cursor for event in reversed(subscriber.events))
    return next((last for last in ids if last is not None), None) or None
