"""Readers of event streams that are patient, restless, slow or late, or begin with a snapshot.

`tests/support/followers.py` is the other reader: it misses nothing and fails at what is odd.
"""

import asyncio
import random
import time
from dataclasses import dataclass

import aiohttp

from tests.chaos.client import Client
from tests.chaos.history import Missed, Subscriber
from tests.support.sse import TERMINAL_EVENTS, Event, SseParser

COME_BACK_WITHIN_S = 0.3
SILENCE_S = 20
BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(frozen=True)
class Manner:
    """When a reader joins, after how many events it leaves, and how slowly it reads."""

    delay_s: float = 0
    leaves_after: int | None = None
    pause_s: float = 0
    wants_snapshot: bool = False


def any_manner(rng: random.Random) -> Manner:
    """One of the manners."""
    return rng.choice(
        [
            Manner(),
            Manner(leaves_after=rng.randint(1, 20)),
            Manner(leaves_after=rng.randint(1, 60)),
            Manner(pause_s=rng.uniform(0.05, 0.4)),
            Manner(delay_s=rng.uniform(0.2, 3)),
            Manner(delay_s=rng.uniform(0, 1), wants_snapshot=True),
        ]
    )


class Reader:
    """Reads one stream into a subscriber, over as many connections as it takes."""

    def __init__(self, client: Client, subscriber: Subscriber, path: str, manner: Manner) -> None:
        self._client = client
        self._subscriber = subscriber
        self._path = path
        self._manner = manner
        self._rng = random.Random(subscriber.name)

    async def run(self) -> None:
        """Read a request to its terminal, or a conversation until cancelled."""
        await asyncio.sleep(self._manner.delay_s)
        while not self._subscriber.has_ended:
            self._subscriber.connections += 1
            try:
                await self._connect()
            except BROKEN:
                pass
            except AssertionError as error:
                self._odd(f"received what is not an event: {error}")
            if not self._subscriber.has_ended:
                await asyncio.sleep(self._rng.uniform(0, COME_BACK_WITHIN_S))

    async def _connect(self) -> None:
        # As EventSource does, resume after the last id, even the empty id of a rewind.
        ids = (event.cursor for event in reversed(self._subscriber.events))
        cursor = next((last for last in ids if last is not None), "")
        headers = dict(self._client.headers)
        path = self._path
        if not cursor and self._manner.wants_snapshot:
            path += "?snapshot=1"
        elif cursor and self._rng.random() < 0.5:
            path += f"?after={cursor}"
        elif cursor:
            headers["Last-Event-ID"] = cursor
        async with self._client.session.get(
            self._client.url(path),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=SILENCE_S),
        ) as response:
            match response.status:
                case 200:
                    await self._follow(response)
                case 204:
                    self._end()
                case 404:
                    self._miss()
                case 503:
                    pass
                case status:
                    self._odd(f"was answered {status}")
                    self._end()

    async def _follow(self, response: aiohttp.ClientResponse) -> None:
        parser = SseParser()
        taken = 0
        async for data in response.content.iter_any():
            for event in parser.feed(data):
                self._subscriber.events.append(event)
                taken += 1
                if self._is_end(event):
                    self._end()
                    return
                if taken == self._manner.leaves_after:
                    return
            await asyncio.sleep(self._manner.pause_s)
        parser.close()

    def _is_end(self, event: Event) -> bool:
        is_of_request = self._subscriber.request_id is not None
        return is_of_request and event.kind in TERMINAL_EVENTS

    def _end(self) -> None:
        self._subscriber.has_ended = True
        self._subscriber.ended_s = time.monotonic()

    def _miss(self) -> None:
        """A request that Redis lost is not found. A conversation may be begun again."""
        request_id = self._subscriber.request_id
        if request_id is not None:
            self._client.history.missed.append(Missed(request_id, self._subscriber.name))
            self._end()

    def _odd(self, text: str) -> None:
        self._client.history.odd.append(f"{self._subscriber.name} {text}")
