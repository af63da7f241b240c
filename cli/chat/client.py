"""Calls one Tickertape API over HTTP. Never retries; its errors state whether a retry is safe."""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from tickertape.cli.chat.events import EventDecoder, StreamEvent, StreamMalformed

_CONNECT_S = 10
# Four times the server's default heartbeat: a connection that is silent for longer is dead.
SILENCE_S = 60
_ANSWER_S = 30.0
_MAX_SHOWN_CHARS = 500


class ApiUnreachable(Exception):
    """The API did not answer, or is too busy. The call may have run, and may be repeated.

    `wait_s` is the server's Retry-After, else 0. `has_response` is true if a server responded.
    """

    def __init__(self, reason: str, wait_s: float = 0, *, has_response: bool = False) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.has_response = has_response


class CallRefused(Exception):
    """The server rejected the call. Repeating it fails in the same way."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Client:
    """Every call that fails raises ApiUnreachable or CallRefused, and no other exception.

    `display_url` is the base URL without its account and password, for messages. The constructor
    raises CallRefused if `base_url` is not a URL.
    """

    def __init__(self, base_url: str, api_key: str | None = None) -> None:
        self._url = base_url.rstrip("/")
        with _as_client_errors():
            self.display_url = str(URL(self._url).with_user(None))
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._session = aiohttp.ClientSession(headers=headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._session.close()

    async def submit(self, body: Mapping[str, Any], idempotency_key: str) -> str:
        """The request_id. Calls with the same key submit at most one request."""
        headers = {"Idempotency-Key": idempotency_key}
        answer = await self._json("POST", "/chat", json=body, headers=headers)
        if "request_id" not in answer:
            raise self._not_tickertape()
        return str(answer["request_id"])

    async def cancel(self, request_id: str) -> str:
        """The status of the request, which has ended: `cancelled` if this call ended it."""
        # A JSON body, because an API without keys accepts no other POST.
        answer = await self._json("POST", f"/chat/{request_id}/cancel", json={})
        return str(answer.get("status"))

    async def get(self, request_id: str) -> dict[str, Any]:
        """The current state of the request, as GET /chat/{request_id} returns it."""
        return await self._json("GET", f"/chat/{request_id}")

    async def is_ready(self, limit_s: float = 2.0) -> bool:
        """Whether the API accepts requests now; False if it does not answer within `limit_s`."""
        try:
            await self._json("GET", "/readyz", limit_s=limit_s, accepts_any=True)
        except (ApiUnreachable, CallRefused):
            return False
        return True

    @contextlib.asynccontextmanager
    async def stream(self, request_id: str, cursor: str | None) -> AsyncIterator["Stream | None"]:
        """A connection that reads the events after `cursor`; None if the log has no more events."""
        # Uncompressed, so that no proxy waits for a compression block to fill.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        with _as_client_errors():
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
                raise self._not_tickertape()
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
        with _as_client_errors():
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
            raise self._not_tickertape() from error
        if not isinstance(answer, dict):
            raise self._not_tickertape()
        return answer

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status < 300:
            return
        if status < 400:
            # Following it would turn a POST into a GET, and send the key to another host.
            target = response.headers.get("Location", "another address")
            raise CallRefused(
                status, f"{self.display_url} redirects to {target}; set TICKERTAPE_URL to that"
            )
        with _as_client_errors():
            reason = f"{status} {_reason(await response.text(errors='replace'))}".strip()
        if status == 429 or status >= 500:
            wait_s = _seconds(response.headers.get("Retry-After"))
            raise ApiUnreachable(reason, wait_s, has_response=True)
        raise CallRefused(status, reason)

    def _not_tickertape(self) -> CallRefused:
        return CallRefused(
            0, f"the server at {self.display_url} is not Tickertape; correct TICKERTAPE_URL"
        )


class Stream:
    """The events of one connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._decoder = EventDecoder()

    @property
    def retry_s(self) -> float:
        """Seconds to wait before reconnecting, as the server sent it; 0 if it sent none."""
        return self._decoder.retry_s or 0

    async def segments(self) -> AsyncGenerator[list[StreamEvent]]:
        """The events of each network read, until the body ends. Raises ApiUnreachable."""
        with _as_client_errors():
            async for segment in self._response.content.iter_any():
                yield self._decoder.feed(segment)


@contextlib.contextmanager
def _as_client_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise ApiUnreachable("no answer in time") from error
    except StreamMalformed as error:
        raise ApiUnreachable("the response is malformed") from error
    except ValueError as error:  # aiohttp and yarl raise it for an invalid URL
        raise CallRefused(0, "TICKERTAPE_URL is not a URL; use http://host:port") from error
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        reason = os.strerror(number) if number and number > 0 else str(error.os_error)
        raise ApiUnreachable(reason) from error
    except aiohttp.ClientError as error:
        raise ApiUnreachable(str(error) or type(error).__name__) from error


def _reason(body: str) -> str:
    """The message of an error body of the API; any other body as it is, shortened."""
    try:
        return str(msgspec.json.decode(body)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body.strip()[:_MAX_SHOWN_CHARS]


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isascii() and value.isdigit() else 0
