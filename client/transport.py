"""Calls one Tickertape API over HTTP. Never retries; its errors state whether a retry is safe."""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Any, TypeVar

import aiohttp
import msgspec
from yarl import URL

from tickertape.client.errors import ApiUnreachable, CallRefused
from tickertape.client.events import Event, EventDecoder, StreamMalformed

_CONNECT_S = 10
_ANSWER_S = 30.0
_MAX_SHOWN_CHARS = 500

T = TypeVar("T")


class Transport:
    """Every call that fails raises ApiUnreachable or CallRefused, and no other exception.

    `display_url` is the base URL without its account and password, for messages. `has_connected`
    is true once a server accepted a call. The constructor raises CallRefused if `base_url` is not
    a URL or no header can hold the key; `url_name` is what the user has to correct then.
    """

    def __init__(
        self, base_url: str, api_key: str | None, *, silence_s: float, url_name: str
    ) -> None:
        self._url = base_url.rstrip("/")
        self._url_name = url_name
        self._silence_s = silence_s
        with self._as_client_errors():
            url = URL(self._url)
            if url.scheme not in {"http", "https"}:
                raise ValueError(url.scheme)
            self.display_url = str(url.with_user(None))
        self._headers = _authorization(api_key) if api_key else {}
        self.has_connected = False
        self._opened: aiohttp.ClientSession | None = None

    @property
    def _session(self) -> aiohttp.ClientSession:
        # Opened by the first call, because a session belongs to a running event loop.
        if self._opened is None:
            self._opened = aiohttp.ClientSession(headers=self._headers)
        return self._opened

    async def aclose(self) -> None:
        """Close all connections. Open streams end with ApiUnreachable."""
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def call(
        self, kind: type[T], method: str, path: str, *, limit_s: float = _ANSWER_S, **options: Any
    ) -> T:
        """The JSON answer as `kind`; None if there is no content and `kind` is NoneType."""
        limit = aiohttp.ClientTimeout(limit_s, sock_connect=_CONNECT_S)
        with self._as_client_errors():
            async with self._session.request(
                method, self._url + path, allow_redirects=False, timeout=limit, **options
            ) as response:
                await self._check(response)
                body = await response.read()
        try:
            return msgspec.json.decode(body or b"null", type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._not_tickertape() from error

    async def answers(self, path: str, limit_s: float) -> bool:
        """Whether GET `path` has a successful answer within `limit_s`, whatever its body."""
        limit = aiohttp.ClientTimeout(limit_s, sock_connect=_CONNECT_S)
        try:
            with self._as_client_errors():
                async with self._session.get(
                    self._url + path, allow_redirects=False, timeout=limit
                ) as response:
                    await self._check(response)
        except (ApiUnreachable, CallRefused):
            return False
        return True

    @contextlib.asynccontextmanager
    async def stream(self, path: str, cursor: str | None) -> AsyncIterator["Connection | None"]:
        """A connection that reads the events after `cursor`; None if the log has no more events."""
        # Uncompressed, so that no proxy waits for a compression block to fill.
        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        if cursor is not None:
            headers["Last-Event-ID"] = cursor
        silence_s = self._silence_s
        with self._as_client_errors():
            response = await self._session.get(
                self._url + path,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    None, sock_connect=min(_CONNECT_S, silence_s), sock_read=silence_s
                ),
            )
        async with response:
            if response.status == 204:
                yield None
                return
            await self._check(response)
            if response.content_type != "text/event-stream":
                raise self._not_tickertape()
            yield Connection(response, self._as_client_errors)

    async def _check(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status < 300:
            self.has_connected = True
            return
        if status < 400:
            # Following it would turn a POST into a GET, and send the key to another host.
            target = response.headers.get("Location", "another address")
            raise CallRefused(
                status, f"{self.display_url} redirects to {target}; set {self._url_name} to that"
            )
        with self._as_client_errors():
            code, message = _reason(await response.text(errors="replace"))
        reason = f"{status} {message}".strip()
        if status == 429 or status >= 500:
            wait_s = _seconds(response.headers.get("Retry-After"))
            raise ApiUnreachable(reason, wait_s, has_response=True)
        raise CallRefused(status, reason, code)

    def _not_tickertape(self) -> CallRefused:
        return CallRefused(
            0, f"the server at {self.display_url} is not Tickertape; correct {self._url_name}"
        )

    @contextlib.contextmanager
    def _as_client_errors(self) -> Iterator[None]:
        try:
            yield
        except aiohttp.ConnectionTimeoutError as error:
            raise ApiUnreachable("no answer in time", was_reached=False) from error
        except TimeoutError as error:
            raise ApiUnreachable("no answer in time") from error
        except StreamMalformed as error:
            raise ApiUnreachable("the response is malformed") from error
        # Before ValueError, because the error of a certificate is one, too.
        except aiohttp.ClientConnectorCertificateError as error:
            reason = f"the certificate of {self.display_url} is refused: {_why(error.os_error)}"
            raise CallRefused(0, reason) from error
        except ValueError as error:  # aiohttp and yarl raise it for an invalid URL
            reason = f"{self._url_name} is not a URL; use http://host:port"
            raise CallRefused(0, reason) from error
        except aiohttp.ClientConnectorSSLError as error:
            # The numbers of such errors are not those of the system.
            reason = (
                f"no TLS connection ({_why(error.os_error)}); the server may speak http:// only"
            )
            raise ApiUnreachable(reason, was_reached=False) from error
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno
            reason = os.strerror(number) if number and number > 0 else str(error.os_error)
            raise ApiUnreachable(reason, was_reached=False) from error
        except aiohttp.ClientError as error:
            raise ApiUnreachable(str(error) or type(error).__name__) from error


def _why(error: OSError) -> str:
    """The reason for which TLS failed, without the place in OpenSSL's source."""
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
    return str(text).replace("_", " ").lower()


class Connection:
    """The events of one connection."""

    def __init__(self, response: aiohttp.ClientResponse, as_client_errors: Any) -> None:
        self._response = response
        self._as_client_errors = as_client_errors
        self._decoder = EventDecoder()

    @property
    def retry_s(self) -> float:
        """Seconds to wait before reconnecting, as the server sent it; 0 if it sent none."""
        return self._decoder.retry_s or 0

    async def segments(self) -> AsyncGenerator[list[Event]]:
        """The events of each network read, until the body ends. Raises ApiUnreachable."""
        with self._as_client_errors():
            async for segment in self._response.content.iter_any():
                yield self._decoder.feed(segment)


def _reason(body: str) -> tuple[str | None, str]:
    """The code and message of an error body of the API; any other body as it is, shortened."""
    try:
        error = msgspec.json.decode(body)["error"]
        return error.get("code"), str(error["message"])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return None, body.strip()[:_MAX_SHOWN_CHARS]


def _seconds(value: str | None) -> float:
    return float(value) if value is not None and value.isascii() and value.isdigit() else 0


def _authorization(key: str) -> dict[str, str]:
    """The header of a key or a ticket; a ticket is recognized by how it begins."""
    if not key.isprintable():
        raise CallRefused(0, "the API key has a line end or another character that no header holds")
    return {"Authorization": f"{'Ticket' if key.startswith('tk1_') else 'Bearer'} {key}"}
