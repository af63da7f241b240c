"""One Tickertape API over HTTP, as its clients see it: each call once, its failures told apart."""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from tickertape.cli.chat.events import Event, EventDecoder, StreamMalformed

_CONNECT_S = 10
# Far above the server's default heartbeat: a connection as silent as this one is dead.
SILENCE_S = 60
_ANSWER_S = 30.0
_READY_S = 2.0
_MAX_SHOWN_CHARS = 500


class Unreachable(Exception):
    """No answer, or none yet: nothing is known about the call, and it may be made again.

    `wait_s` is what the server asked for, else 0; `was_answered` whether it was there at all.
    """

    def __init__(self, reason: str, wait_s: float = 0, *, was_answered: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.was_answered = was_answered


class Refused(Exception):
    """The server will not do this, however often it is asked."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Client:
    """Every call raises Unreachable or Refused, and nothing else, when it does not succeed.

    `place` is the URL as it may be shown: without a password. Raises Refused if it is no URL.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        self._url = base_url.rstrip("/")
        with _told_apart():
            self.place = str(URL(self._url).with_user(None))
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def submit(self, body: Mapping[str, Any], idempotency_key: str) -> str:
        """The request_id. Safe to repeat with the same key when it was Unreachable."""
        headers = {"Idempotency-Key": idempotency_key}
        answer = await self._json("POST", "/chat", json=body, headers=headers)
        if "request_id" not in answer:
            raise self._stranger()
        return str(answer["request_id"])

    async def cancel(self, request_id: str) -> str:
        """The status afterwards: `cancelled`, or how it had ended before."""
        # JSON, since an open API takes no other posts.
        answer = await self._json("POST", f"/chat/{request_id}/cancel", json={})
        return str(answer.get("status"))

    async def get(self, request_id: str) -> dict[str, Any]:
        """The request as it is now."""
        return await self._json("GET", f"/chat/{request_id}")

    async def is_ready(self) -> bool:
        """Whether the API can take requests now."""
        try:
            await self._json("GET", "/readyz", limit_s=_READY_S, accepts_any=True)
        except (Unreachable, Refused):
            return False
        return True

    @contextlib.asynccontextmanager
    async def stream(self, request_id: str, cursor: str | None) -> AsyncIterator["Stream | None"]:
        """A connection that reads on after `cursor`; None when the request is over before it."""
        # Uncompressed, so that nothing on the way waits for a block to fill.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        with _told_apart():
            response = await self._session.get(
                f"{self._url}/chat/{request_id}/stream",
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(None, sock_connect=_CONNECT_S, sock_read=SILENCE_S),
            )
        async with response:
            if response.status == 204:
                yield None
                return
            await self._check(response)
            if response.content_type != "text/event-stream":
                raise self._stranger()
            yield Stream(response)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        limit_s: float = _ANSWER_S,
        accepts_any: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        limit = aiohttp.ClientTimeout(limit_s, sock_connect=_CONNECT_S)
        with _told_apart():
            async with self._session.request(
                method, self._url + path, allow_redirects=False, timeout=limit, **options
            ) as response:
                await self._check(response)
                if accepts_any:
                    return {}
                return await self._object(response)

    async def _object(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        try:
            answer = await response.json()
        except (ValueError, aiohttp.ContentTypeError) as error:
            raise self._stranger() from error
        if not isinstance(answer, dict):
            raise self._stranger()
        return answer

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status < 300:
            return
        if status < 400:
            # Followed, a POST would become a GET, and the key would go to another host.
            place = response.headers.get("Location", "elsewhere")
            raise Refused(status, f"{self.place} redirects to {place}: set TICKERTAPE_URL to it")
        with _told_apart():
            reason = f"{status} {_reason(await response.text(errors='replace'))}".strip()
        if status == 429 or status >= 500:
            wait_s = _seconds(response.headers.get("Retry-After"))
            raise Unreachable(reason, wait_s, was_answered=True)
        raise Refused(status, reason)

    def _stranger(self) -> Refused:
        return Refused(0, f"what answers at {self.place} is not Tickertape; set TICKERTAPE_URL")


class Stream:
    """The events of one connection. `retry_s`: what the server said about coming back."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._decoder = EventDecoder()

    @property
    def retry_s(self) -> float:
        """Seconds to wait before the next connection."""
        return self._decoder.retry_s or 0

    async def segments(self) -> AsyncGenerator[list[Event]]:
        """The events of each segment that arrives, to the end of the body; raises Unreachable."""
        with _told_apart():
            async for segment in self._response.content.iter_any():
                yield self._decoder.feed(segment)


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unreachable("no answer in time") from error
    except StreamMalformed as error:
        raise Unreachable("the answer was damaged on its way") from error
    except ValueError as error:  # what aiohttp and yarl raise for a URL that is none
        raise Refused(0, "TICKERTAPE_URL is not a URL") from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        reason = os.strerror(number) if number and number > 0 else str(error.os_error)
        raise Unreachable(reason) from error
    except aiohttp.ClientError as error:
        raise Unreachable(str(error) or type(error).__name__) from error


def _reason(body: str) -> str:
    """What a refusal says: our error shape, else the text as it is."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body.strip()[:_MAX_SHOWN_CHARS]


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isascii() and value.isdigit() else 0
