"""The public keys of an issuer of tokens, as one process knows them.

PyJWKClient would read the keys for every token with an unknown key id, in the event loop's thread,
and without a bound on their size.
"""

import asyncio
import time
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse

import jwt
import structlog

from tickertape.broker.errors import Unavailable

logger = structlog.get_logger("api")

_READ_EVERY_S = 300.0
# Tokens with unknown key ids, which anybody can make, cause no more reads than this.
_PAUSE_S = 10.0
_LIMIT_S = 5.0
_MOST_BYTES = 1024 * 1024

Fetch = Callable[[str], bytes]


class Jwks:
    """Finds a key by its id. Keys are read again every five minutes, and for an unknown id."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetch = fetch or fetch_bytes
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] | None = None
        self._tried_s = float("-inf")
        self._read_s = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key; None if the issuer has no key of this id. Raises Unavailable."""
        if self._is_due(key_id) or (not self._has(key_id) and self._lock.locked()):
            # Also calls that come while the keys are being read wait for them.
            async with self._lock:
                if self._is_due(key_id):
                    await self._read()
        if self._keys is None:
            raise Unavailable("The keys of the issuer of tokens cannot be read at the moment.")
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _is_due(self, key_id: str | None) -> bool:
        now_s = self._clock()
        if now_s - self._tried_s < _PAUSE_S:
            return False
        is_old = now_s - self._read_s >= _READ_EVERY_S
        return is_old or not self._has(key_id)

    def _has(self, key_id: str | None) -> bool:
        return self._keys is not None and (key_id is None or key_id in self._keys)

    async def _read(self) -> None:
        self._tried_s = self._clock()
        try:
            text = await asyncio.to_thread(self._fetch, self._url)
            self._keys = _public_keys(text)
        except (OSError, ValueError, AttributeError, HTTPException, jwt.PyJWTError) as error:
            logger.warning("keys of tokens not read", url=self._url, reason=type(error).__name__)
        else:
            self._read_s = self._clock()


def _public_keys(text: bytes) -> dict[str | None, jwt.PyJWK]:
    """The keys by their ids. A key that is a shared secret is left out: nobody may verify by it."""
    found = jwt.PyJWKSet.from_json(text.decode("utf-8"))
    return {key.key_id: key for key in found.keys if key.key_type in {"RSA", "EC", "OKP"}}


def fetch_bytes(url: str) -> bytes:
    """The body at an address of the settings; raises OSError, ValueError. Blocks the thread."""
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310  # see Settings
    answer: HTTPResponse
    with _OPENER.open(request, timeout=_LIMIT_S) as answer:
        body = answer.read(_MOST_BYTES + 1)
    if len(body) > _MOST_BYTES:
        message = "too many bytes"
        raise ValueError(message)
    return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Follow no redirect, because only the address in the settings is trusted."""


_OPENER = urllib.request.build_opener(_NoRedirect)
