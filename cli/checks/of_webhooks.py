"""Looks up the addresses of the receivers of webhooks. Calls none of them, and shows no address."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok
from tickertape.runtime.public_hosts import is_public
from tickertape.runtime.settings import Settings

if TYPE_CHECKING:
    from tickertape.deliver.webhook_file import Receiver

_ANSWER_S = 5.0
_AT_ONCE = 16

LookUp = Callable[[str], Awaitable[list[str]]]


async def _look_up(host: str) -> list[str]:
    """The addresses of a host; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


async def findings(
    settings: Settings, *, look_up: LookUp = _look_up, limit_s: float = _ANSWER_S
) -> list[Finding]:
    """Whether the file, if there is one, can be used, and where its addresses lead."""
    if settings.webhooks is None:
        return []
    from tickertape.deliver.webhook_file import read

    try:
        receivers = [*read(settings.webhooks).values()]
    except SettingsInvalid as invalid:
        return [CASES["settings-webhooks"].found(problem=str(invalid))]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def examine(receiver: "Receiver") -> Finding | None:
        async with slots:
            return await _of_receiver(receiver, look_up, limit_s)

    found = [each for each in await asyncio.gather(*map(examine, receivers)) if each is not None]
    return found or [
        ok("webhooks-receivers", f"the addresses of {len(receivers)} receivers can be called")
    ]


async def _of_receiver(receiver: "Receiver", look_up: LookUp, limit_s: float) -> Finding | None:
    try:
        async with asyncio.timeout(limit_s):
            addresses = await look_up(urlsplit(receiver.url).hostname or "")
    except (OSError, TimeoutError, UnicodeError):
        return CASES["webhooks-name"].found(name=receiver.name)
    if not receiver.allow_private and not any(map(is_public, addresses)):
        return CASES["webhooks-private"].found(name=receiver.name)
    return None
