"""Finds the primary that the Sentinels name, for every new connection and once a second.

After a fail-over, the old primary serves its connections until the Sentinels demote it, which is up
to ten seconds later. What it takes in that time is lost. So no connection waits for a refusal.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import RedisError

from tickertape.runtime.cancellations import cancellations_kept
from tickertape.runtime.sentinel_address import SentinelAddress

log = structlog.get_logger()

# One Sentinel that hangs must not use up the time of a command.
_TIMEOUT_S = 1.0
# Each process asks so often whether there is another primary.
_ASK_EVERY_S = 1.0
# Connections that open together ask once.
_VALID_S = 0.1

_BEFORE_A_FAILURE = "> - "

Locate = Callable[[], Awaitable[tuple[str, int]]]


class PrimaryLocator:
    """Asks the Sentinels in turn, and starts with the one that answered last.

    After the first `locate`, a task asks once a second until `aclose`, and calls `on_moved` when
    another primary is named.
    """

    def __init__(self, address: SentinelAddress, on_moved: Callable[[], None]) -> None:
        self._name = address.name
        self._address = address
        self._on_moved = on_moved
        self._following: asyncio.Task[None] | None = None
        self._named: tuple[str, int] | None = None
        self._sentinel = _sentinel_client(address)
        self._asking = asyncio.Lock()
        self._known: tuple[str, int] | None = None
        self._known_at_s = 0.0
        self._fault: str | None = None

    async def locate(self) -> tuple[str, int]:
        """Host and port of the primary; raises ConnectionError when no Sentinel names one."""
        async with self._asking:
            known = self._known
            if known is None or time.monotonic() - self._known_at_s > _VALID_S:
                known = await self._ask()
            if self._following is None:
                self._following = asyncio.create_task(self._follow(), name="follow the primary")
            return known

    async def ask_again(self) -> None:
        """Ask now; one answer serves all who wait. Raises ConnectionError as `locate` does."""
        called_s = time.monotonic()
        async with self._asking:
            if self._known_at_s < called_s:
                await self._ask()

    async def use_account(self, address: SentinelAddress) -> None:
        """Ask the Sentinels with another account from now on."""
        async with self._asking:
            self._address = address
            await self._start_over()

    async def _start_over(self) -> None:
        former, self._sentinel = self._sentinel, _sentinel_client(self._address)
        await former.aclose()

    async def aclose(self) -> None:
        """Ask no more, and close the connections to the Sentinels."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await self._sentinel.aclose()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(_ASK_EVERY_S)
            # A lock, because the clients of the Sentinels have one connection each.
            async with self._asking:
                with cancellations_kept(), contextlib.suppress(ConnectionLost):
                    await self._ask()

    async def _ask(self) -> tuple[str, int]:
        before = self._known
        try:
            known: tuple[str, int] = await self._sentinel.discover_master(self._name)
        except RedisError as error:
            self._known, fault = None, self._words_for(error)
            if fault != self._fault:
                log.warning("no primary found", reason=fault)
            self._fault = fault
            if self._address.server_url.startswith("rediss:"):
                # New connections read the files of certificates, which may have been replaced.
                await self._start_over()
            raise ConnectionLost(fault) from error
        self._known, self._known_at_s, self._fault = known, time.monotonic(), None
        if known != before:
            host, port = known
            log.info("the Sentinels name a primary", name=self._name, primary=f"{host}:{port}")
        has_moved = self._named not in {None, known}
        self._named = known
        if has_moved:
            self._on_moved()
        return known

    def _words_for(self, error: RedisError) -> str:
        """redis-py's message without its descriptions of clients."""
        _, *failed = str(error).split(_BEFORE_A_FAILURE)
        reasons = sorted({each.partition(", <")[0] for each in failed})
        because = f": {'; '.join(reasons)}" if reasons else ""
        return f"no Sentinel names the primary {self._name!r}{because}"


def _sentinel_client(address: SentinelAddress) -> Sentinel:
    return Sentinel(
        address.sentinels,
        sentinel_kwargs={
            **_tls_options(address.server_url),
            "username": address.username,
            "password": address.password,
            "protocol": 2,
            "socket_timeout": _TIMEOUT_S,
            "socket_connect_timeout": _TIMEOUT_S,
            "retry": None,
        },
    )  # type: ignore[no-untyped-call]  # bare in redis-py


def _tls_options(server_url: str) -> dict[str, Any]:
    options = parse_url(server_url)
    kept = {name: value for name, value in options.items() if name.startswith("ssl_")}
    return {"ssl": server_url.startswith("rediss:"), **kept}
