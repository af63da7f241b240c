"""A program of one tenant that does all that it can to make other tenants wait.

`python -m tests.isolation.one_tenant URL KEY` prints a line when all streams are open, and a JSON
object with its counts when all submits are answered. Then it goes on until it is killed.
"""

import argparse
import asyncio
import itertools
import resource
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import aiohttp
import msgspec
import uvloop

from tests.support.prompted import Plan
from tests.support.worst_bodies import PATHS, WorstBody, worst_bodies

FLOODING = b"flooding\n"
_CALLERS = 32
_OPENING = 32
_WRITERS_OF_BODIES = 4
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
# An answer that holds a slot of a worker for two seconds.
_LONG = Plan(deltas=40, rate_per_s=20, tag="flood")
_JSON = {"Content-Type": "application/json"}


class OneTenant:
    """All that the tenant does. `counts` has the answers by what they answer."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        submits: int,
        streams: int,
        bodies: Sequence[WorstBody],
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._session = session
        self._url = url
        self._submits = submits
        self._streams = streams
        self._bodies = bodies
        self._open = 0
        # A program that connects faster than it sends has its silent connections closed.
        self._opening = asyncio.Semaphore(_OPENING)
        self._accepted: list[str] = []

    async def run(self) -> None:
        """Open the streams, then submit, and send bodies until cancelled."""
        async with asyncio.TaskGroup() as group:
            while not self._accepted:
                await self._submit()
            for number in range(self._streams):
                group.create_task(self._read(number))
            while self._open < self._streams:
                await self._submit()
                await asyncio.sleep(0.05)
            sys.stdout.buffer.write(FLOODING)
            sys.stdout.flush()
            for number in range(_WRITERS_OF_BODIES):
                group.create_task(self._post_bodies(number))
            numbers = iter(range(self._submits))
            async with asyncio.TaskGroup() as submitting:
                for _ in range(_CALLERS):
                    submitting.create_task(self._submit_all(numbers))
            print(msgspec.json.encode(self.counts).decode(), flush=True)
            while True:
                await asyncio.sleep(0.05)
                await self._submit()

    async def _submit_all(self, numbers: Iterator[int]) -> None:
        for _ in numbers:
            await self._submit()

    async def _submit(self) -> None:
        body = {"message": _LONG.prompt()}
        try:
            async with self._session.post(f"{self._url}/chat", json=body) as answer:
                self.counts[f"submit {answer.status}"] += 1
                found = await answer.json()
        except _BROKEN as error:
            self.counts[f"submit {type(error).__name__}"] += 1
            return
        if answer.status == 202:
            self._accepted.append(found["request_id"])

    async def _read(self, number: int) -> None:
        """Every second reader holds one stream, and the others read one after the other."""
        is_first = True
        while True:
            request_id = self._accepted[-1 - number % min(len(self._accepted), 100)]
            held, passing = f"/conversations/idle-{number}/stream", f"/chat/{request_id}/stream"
            path = held if number % 2 else passing
            try:
                await self._opening.acquire()
                try:
                    answer = await self._session.get(f"{self._url}{path}")
                finally:
                    self._opening.release()
                async with answer:
                    self.counts[f"stream {answer.status}"] += 1
                    self._open, is_first = self._open + is_first, False
                    async for _ in answer.content.iter_any():
                        pass
            except _BROKEN as error:
                self.counts[f"stream {type(error).__name__}"] += 1
            await asyncio.sleep(0.5)

    async def _post_bodies(self, first: int) -> None:
        bodies = itertools.cycle(self._bodies)
        for body in itertools.islice(bodies, first, None, _WRITERS_OF_BODIES):
            await self._post(body)

    async def _post(self, body: WorstBody) -> None:
        try:
            async with self._session.post(
                f"{self._url}{body.path}", data=body.content, headers=_JSON
            ) as answer:
                self.counts[f"body {answer.status}"] += 1
        except _BROKEN as error:
            self.counts[f"body {type(error).__name__}"] += 1


async def _run(given: argparse.Namespace, bodies: Sequence[WorstBody]) -> None:
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": f"Bearer {given.key}"},
        timeout=aiohttp.ClientTimeout(total=None, sock_read=30),
    ) as session:
        tenant = OneTenant(
            session, given.url, submits=given.submits, streams=given.streams, bodies=bodies
        )
        await tenant.run()


def main() -> None:
    """Flood until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("--submits", type=int, default=10_000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--without-bodies", action="store_true")
    given = parser.parse_args()
    # Before anything else. Making them takes seconds, in which this program would do little else.
    paths = () if given.without_bodies else PATHS
    bodies = [body for path in paths for body in worst_bodies(path)]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    uvloop.run(_run(given, bodies))


if __name__ == "__main__":
    main()
