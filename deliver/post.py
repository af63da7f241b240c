"""Sends webhooks over HTTP. Whoever writes a receiver's address cannot reach inside the network.

An address is checked where it counts: at the connection. A name is looked up once, by the resolver
of the connection, and the connection goes to one of the addresses that passed. So a name that leads
to a public address now and to a private one later (DNS rebinding) gets no connection to the latter.
Redirects are not followed, no proxy is used, and little of the reply is read.
"""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from tickertape.deliver.webhook_file import Receiver
from tickertape.runtime.public_hosts import is_public
from tickertape.runtime.version import installed_version

_MOST_REPLY_BYTES = 1024
_MOST_RETRY_AFTER_S = 3600
_GONE = 410


@dataclass(frozen=True)
class Reply:
    """What came of a call: the status, or the kind of failure without a status.

    `wants_no_more` is the receiver's word that it never wants this webhook again.
    """

    status: int | None
    failure: str = ""
    retry_after_s: float = 0.0

    @property
    def is_accepted(self) -> bool:
        """Whether the receiver has the webhook."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def wants_no_more(self) -> bool:
        """Whether the receiver says that it is gone."""
        return self.status == _GONE

    @property
    def words(self) -> str:
        """The reason for people; it has neither an address nor text of the receiver."""
        return f"status {self.status}" if self.status is not None else self.failure


class PrivateAddress(OSError):
    """The host of a receiver has no public address."""


class PublicResolver(AbstractResolver):
    """Finds the public addresses of a host, and no others."""

    def __init__(self, inner: AbstractResolver | None = None) -> None:
        self._inner = inner or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The public addresses; raises PrivateAddress if there are only others."""
        found = await self._inner.resolve(host, port, family)
        public = [each for each in found if is_public(each["host"])]
        if not public:
            raise PrivateAddress("the host has no public address")
        return public

    async def close(self) -> None:
        """Close what looks names up."""
        await self._inner.close()


class Poster:
    """Posts to receivers; an async context manager."""

    def __init__(self, *, patience_s: float, resolver: AbstractResolver | None = None) -> None:
        """`resolver` looks up the names of public hosts, before they are checked."""
        self._limits = aiohttp.ClientTimeout(total=patience_s, connect=patience_s)
        self._inner = resolver

    async def __aenter__(self) -> Self:
        public = PublicResolver(self._inner)
        self._public = self._session(aiohttp.TCPConnector(resolver=public, use_dns_cache=False))
        self._any = self._session(aiohttp.TCPConnector(use_dns_cache=False))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self._public.close()
        await self._any.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            timeout=self._limits,
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"tickertape/{installed_version()}"},
        )

    async def post(self, receiver: Receiver, body: bytes, headers: dict[str, str]) -> Reply:
        """Send a body, and return what came of it. Raises nothing but a cancellation."""
        host = (urlsplit(receiver.url).hostname or "").rstrip(".")
        # No resolver is asked about a host that is a number.
        if not receiver.allow_private and not is_public(host):
            return Reply(None, "private address")
        session = self._any if receiver.allow_private else self._public
        try:
            async with session.post(
                receiver.url,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                allow_redirects=False,
            ) as answered:
                await answered.content.read(_MOST_REPLY_BYTES)
                if not answered.content.at_eof():
                    answered.close()
                return Reply(answered.status, retry_after_s=_retry_after_s(answered.headers))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            return Reply(None, _words(error))


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no reply in time"
    cause = error.__cause__ or getattr(error, "os_error", None)
    if isinstance(error, PrivateAddress) or isinstance(cause, PrivateAddress):
        return "private address"
    return "no connection" if isinstance(error, OSError) else type(error).__name__


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "")
    return min(int(text), _MOST_RETRY_AFTER_S) if text.isdecimal() and len(text) < 9 else 0.0
