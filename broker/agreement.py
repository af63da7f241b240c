"""What the processes of one system agree on in Redis: the format of its data, and some settings.

A process compares its own values at its start. A format that it cannot read ends the start. Another
value of a setting is logged, and replaces the agreed one, so that a setting can be changed by
restarting one process after the other. The processes that still run with the old value notice that
and log it too. After a loss of the data the values are agreed on again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from tickertape.broker.codec import NEWEST_FORMAT
from tickertape.broker.connections import Connections
from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.broker.lua import Scripts
from tickertape.runtime.settings import Settings

log = structlog.get_logger()

_TASK = "agreement"
_INTERVAL_S = 10.0
_RETRY_S = 1.0
_RESTARTED_LATER = "processes that run already keep the agreed value: restart them with this one"
_RESTARTED_EARLIER = "a process was started with the agreed value: restart this one with it"


@dataclass(frozen=True)
class Format:
    """The versions of the data in Redis that a release writes and reads.

    The release writes `version`, and reads all versions from `oldest` on. Releases of version
    `reader` or later can read what it writes: they skip kinds of entries that they do not know, and
    leave jobs of a later version in the queue.
    """

    version: int
    oldest: int
    reader: int


FORMAT = Format(version=NEWEST_FORMAT, oldest=1, reader=1)


def settings_of_api(settings: Settings) -> dict[str, str]:
    """The settings that every API process needs to share with all other processes."""
    return {
        "TICKERTAPE_RETENTION_S": str(settings.retention_s),
        "TICKERTAPE_CONVERSATION_TTL_S": str(settings.conversation_ttl_s),
    }


def settings_of_worker(settings: Settings) -> dict[str, str]:
    """The settings that every worker needs to share with all other processes."""
    return settings_of_api(settings) | {
        "TICKERTAPE_LEASE_S": f"{settings.lease_s:g}",
        "TICKERTAPE_MAX_CRASHES": str(settings.max_crashes),
    }


async def read_agreed(connections: Connections) -> dict[str, str]:
    """The agreed values by name, with the range of the format; raises Unavailable."""
    stored = await connections.ask("HGETALL", connections.keys.agreement())
    return {name.decode(): value.decode() for name, value in stored.items()}


def refusal_of(agreed: Mapping[str, str], own: Format = FORMAT) -> str | None:
    """Pure: why a release may not start with these agreed values; None if it may."""
    format_min = int(agreed.get("format_min", own.version))
    format_max = int(agreed.get("format_max", own.version))
    if own.version < format_min or format_max < own.oldest:
        return _refusal(own, format_min, format_max)
    return None


class Agreement:
    """Compares the format and the settings of this process with those that were agreed on."""

    def __init__(
        self,
        connections: Connections,
        settings: Mapping[str, str],
        *,
        own_format: Format = FORMAT,
        interval_s: float = _INTERVAL_S,
        retry_s: float = _RETRY_S,
    ) -> None:
        self._settings = dict(settings)
        self._format = own_format
        self._interval_s = interval_s
        self._retry_s = retry_s
        self._key = connections.keys.agreement()
        self._faults = connections.faults
        self._scripts = Scripts(connections.commands)
        # The last difference that was logged of each setting.
        self._logged: dict[str, str] = {}
        self._is_refused = False

    async def start(self) -> None:
        """Agree, and log each setting that differs. Foreign data in the agreement are only logged.

        Raises SettingsInvalid if this release cannot read the data in Redis, or the data are too
        old for it; AccessDenied, Unavailable.
        """
        try:
            refusal = await self._agree(is_start=True)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # foreign data must stop no process
            self._faults.failed(_TASK, error)
        else:
            if refusal is not None:
                raise SettingsInvalid(refusal)

    async def run(self) -> None:
        """Compare again from time to time, until cancelled. No failure ends it."""
        while True:
            # A process whose task is refused is not ready, so the next try must come soon.
            pause_s = self._retry_s
            with self._faults.contain(_TASK):
                await self._compare_again()
                pause_s = self._interval_s
            await asyncio.sleep(pause_s)

    async def _compare_again(self) -> None:
        refusal = await self._agree(is_start=False)
        if refusal is not None and not self._is_refused:
            log.error("the format has changed", reason=refusal)
        self._is_refused = refusal is not None

    async def _agree(self, *, is_start: bool) -> str | None:
        """Compare and log; returns why this release does not fit to the data, if it does not."""
        word, details = await self._scripts.verdict(
            "agree",
            [self._key],
            *(text for item in self._settings.items() for text in item),
            version=self._format.version,
            oldest=self._format.oldest,
            reader=self._format.reader,
            is_start=int(is_start),
        )
        if word == "REFUSED":
            return _refusal(self._format, *(int(detail) for detail in details))
        for name, agreed in zip(self._settings, details, strict=True):
            self._compare(name, agreed.decode(), is_start=is_start)
        return None

    def _compare(self, name: str, agreed: str, *, is_start: bool) -> None:
        here = self._settings[name]
        if agreed in {"", here}:
            self._logged.pop(name, None)
        elif self._logged.get(name) != agreed:
            self._logged[name] = agreed
            advice = _RESTARTED_LATER if is_start else _RESTARTED_EARLIER
            log.warning("a setting differs", setting=name, here=here, agreed=agreed, advice=advice)


def _refusal(own: Format, format_min: int, format_max: int) -> str:
    if own.version < format_min:
        return (
            f"The data in this Redis need a release of format {format_min} or later, and this"
            f" release has format {own.version}: start a newer release, or set another"
            " TICKERTAPE_NAMESPACE or REDIS_URL"
        )
    return (
        f"The data in this Redis have format {format_max}, and this release reads format"
        f" {own.oldest} and later: run a release in between first, or set another"
        " TICKERTAPE_NAMESPACE or REDIS_URL"
    )
