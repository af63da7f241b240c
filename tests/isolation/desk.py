"""What every caller of a run shares: the connections, the addresses and the record."""

import asyncio
import random
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp

from tests.isolation.marks import NATIVE, Checked
from tests.isolation.people import Headers, Person
from tests.isolation.record import Record

BROKEN = (aiohttp.ClientError, TimeoutError, OSError)
_PATIENCE_S = 20
_AWAY = frozenset({503})


class Answer(NamedTuple):
    """What one call was answered; status 0 for a broken connection."""

    status: int
    headers: Headers
    body: bytes


@dataclass
class Desk:
    """Calls any of the API processes."""

    session: aiohttp.ClientSession
    urls: list[str]
    rng: random.Random
    record: Record

    def url(self, path: str) -> str:
        """The path on some API process."""
        return self.rng.choice(self.urls) + path

    async def call(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: Any = None,
        *,
        patience_s: float = _PATIENCE_S,
    ) -> Answer:
        """One call, with whatever comes of it; without a body if that breaks off."""
        status: int = 0
        sent: Headers = {}
        try:
            async with self.session.request(
                method,
                self.url(path),
                json=body,
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=patience_s),
            ) as answer:
                status, sent = answer.status, answer.headers
                return Answer(status, sent, await answer.read())
        except BROKEN:
            return Answer(status, sent, b"")

    async def call_as(
        self, person: Person, method: str, path: str, body: Any = None, *, good: set[int]
    ) -> Answer:
        """A call of a person, whose answer may have marks of that person only."""
        answer = await self.call(method, path, person.headers(self.rng), body)
        checked = Checked(person.prefix, NATIVE)
        checked.feed(answer.body)
        checked.end()
        checked.deltas = 0
        self.record.add(f"{person.name} by {method} {path}", checked)
        self.expect(answer, f"{method} {path.split('/')[1]}", good)
        has_broken_off = answer.status == 200 and not answer.body
        return answer._replace(status=0) if has_broken_off else answer

    def expect(self, answer: Answer, what: str, good: set[int]) -> None:
        """Note an answer that is neither good nor the sign of a process that was killed."""
        if answer.status and answer.status not in good | _AWAY:
            self.record.odd[f"{what} was answered {answer.status}: {answer.body[:100]!r}"] += 1

    async def read(
        self,
        reader: str,
        checked: Checked,
        path: str,
        headers: Headers,
        *,
        method: str = "GET",
        body: Any = None,
        leaves_after: int | None = None,
        lasts_s: float = 60,
    ) -> "Reading":
        """Read one connection until it ends, or until the reader leaves after some chunks."""
        reading = Reading()
        try:
            async with (
                asyncio.timeout(lasts_s),
                self.session.request(
                    method, self.url(path), json=body, headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
                ) as answer,
            ):  # fmt: skip
                reading.status = answer.status
                reading.request_id = answer.headers.get("X-Request-Id", "")
                taken = 0
                async for data in answer.content.iter_any():
                    checked.feed(data)
                    taken += 1
                    if taken == leaves_after:
                        break
                else:
                    reading.is_whole = True
        except BROKEN:
            pass
        finally:
            checked.end()
            self.record.counts["connections"] += 1
            self.record.add(reader, checked)
        return reading


@dataclass
class Reading:
    """How a connection was answered, and whether the server ended it."""

    status: int = 0
    request_id: str = ""
    is_whole: bool = False
