"""A client that repeats a call that got no answer, at any API process.

`tests/support/callers.py` is the other client: it calls one API process and fails at once.
"""

import asyncio
import itertools
import random
import time
from typing import Any, NamedTuple

import aiohttp

from tests.chaos.history import Drained, History
from tests.chaos.tenants import key_of

# Of the first try. Each time-out doubles it: on a busy machine, an API process would otherwise work
# for more and more callers that have left, and answer none in time.
_PATIENCE_S = 8
_PAUSE_S = 0.1
# Longer than any fault lasts. Beyond it, something hangs, and a run has to say what.
_GIVES_UP_AFTER_S = 90
_UNKNOWN = (aiohttp.ClientError, TimeoutError, OSError)


class Answer(NamedTuple):
    """What an API process answered."""

    status: int
    retry_after: str | None
    body: Any
    was_repeated: bool = False

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.body["error"]["code"]) if self.status >= 400 else ""


class Client:
    """Calls as one tenant. The history records answers that no call should get."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: list[str],
        tenant: str,
        history: History,
        seed: int,
        patience_s: float = _PATIENCE_S,
    ) -> None:
        self.session = session
        self.tenant = tenant
        self.history = history
        self.rng = random.Random(f"{seed} {tenant}")
        self.headers = {"Authorization": f"Bearer {key_of(tenant)}"}
        self._urls = urls
        self._patience_s = patience_s

    def url(self, path: str) -> str:
        """The path on some API process."""
        return self.rng.choice(self._urls) + path

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """The first answer of any API process. The call may have been executed more than once.

        Raises AssertionError if there is none for longer than any fault lasts.
        """
        asked_s = time.monotonic()
        patience_s = self._patience_s
        for tries in itertools.count():
            begin_s = time.monotonic()
            if begin_s > asked_s + _GIVES_UP_AFTER_S:
                raise AssertionError(f"{method} {path} got no answer: {self.history.repeats}")
            try:
                answer = await self._once(method, path, body, headers or {}, patience_s)
            except _UNKNOWN as error:
                if isinstance(error, TimeoutError):
                    patience_s *= 2
                self.history.repeats[type(error).__name__] += 1
                await asyncio.sleep(_PAUSE_S)
                continue
            if answer.status == 503 and answer.code in {"unavailable", "draining"}:
                self.history.repeats[answer.body["error"]["message"]] += 1
                if answer.code == "draining":
                    drained = Drained(path, begin_s, time.monotonic(), answer.retry_after)
                    self.history.drained.append(drained)
                await asyncio.sleep(_PAUSE_S)
                continue
            if answer.status >= 500 and answer.code != "queue_full":
                self.history.odd.append(f"{method} {path} was answered {answer}")
            return answer._replace(was_repeated=tries > 0)
        raise AssertionError("itertools.count ends")

    async def _once(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        headers: dict[str, str],
        patience_s: float,
    ) -> Answer:
        async with self.session.request(
            method,
            self.url(path),
            json=body,
            headers={**self.headers, **headers},
            timeout=aiohttp.ClientTimeout(total=patience_s),
        ) as response:
            retry_after = response.headers.get("Retry-After")
            return Answer(response.status, retry_after, await response.json())
