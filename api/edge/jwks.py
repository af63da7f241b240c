"""The public keys of an issuer of tokens, as one process knows them.

PyJWKClient would read the keys for every token with an unknown key id, in the event loop's thread,
and without a bound on their size. `urllib` limits each read of a socket, and so would wait without
end for an answer that comes byte by byte.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

import jwt
import structlog

from tickertape.broker.errors import Unavailable

if TYPE_CHECKING:
    import aiohttp

logger = structlog.get_logger("api")

_READ_EVERY_S = 300.0
# Tokens with unknown key ids, which anybody can make, cause no more reads than this.
_PAUSE_S = 10.0
_LIMIT_S = 5.0
_MOST_BYTES = 1024 * 1024
_OK = 200

Fetch = Callable[[str], Awaitable[bytes]]


class Jwks:
    """Finds a key by its id. Keys are read again every five minutes, and for an unknown id."""

    def __init__(
        self,
        url: str,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
        limit_s: float = _LIMIT_S,
    ) -> None:
        self._url = url
        self._fetch = fetch or partial(fetch_bytes, limit_s=limit_s)
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
            self._keys = _public_keys(await self._fetch(self._url))
        except (OSError, ValueError, jwt.PyJWTError) as error:
            logger.warning("keys of tokens not read", url=self._url, reason=type(error).__name__)
        else:
            self._read_s = self._clock()


def _public_keys(text: bytes) -> dict[str | None, jwt.PyJWK]:
    """The keys by their ids. A key that is a shared secret is left out: nobody may verify by it.

    Raises ValueError and PyJWTError.
    """
    try:
        found = jwt.PyJWKSet.from_json(text.decode("utf-8"))
        return {key.key_id: key for key in found.keys if key.key_type in {"RSA", "EC", "OKP"}}
    except (AttributeError, TypeError, RecursionError) as error:
        # The library takes the types of the members for granted.
        raise ValueError(type(error).__name__) from None


async def fetch_bytes(url: str, *, limit_s: float) -> bytes:
    """The body at an address of the settings; raises OSError, ValueError.

    No redirect is followed, because only the address in the settings is trusted.
    """
    import aiohttp  # noqa: PLC0415  # most APIs have no issuer of tokens

    limits = aiohttp.ClientTimeout(total=limit_s)
    try:
        async with (
            aiohttp.ClientSession(timeout=limits, trust_env=True) as session,
            session.get(
                url, headers={"Accept": "application/json"}, allow_redirects=False
            ) as answer,
        ):
            if answer.status != _OK:
                raise ValueError(f"status {answer.status}")
            return await _body(answer.content)
    except aiohttp.ClientError as error:
        raise OSError(type(error).__name__) from None


async def _body(content: "aiohttp.StreamReader") -> bytes:
    body = bytearray()
    async for some in content.iter_any():
        body += some
        if len(body) > _MOST_BYTES:
            raise ValueError("too many bytes")
    return bytes(body)
