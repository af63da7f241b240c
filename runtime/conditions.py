"""What keeps a process from its work, or harms it: named conditions, as they were last seen.

Each kind of process decides in a table which conditions are fatal. A process with a fatal one is
not ready. The others are only named.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum, StrEnum
from typing import NamedTuple

import structlog

log = structlog.get_logger()


class Code(StrEnum):
    """All conditions. If there are several, the first one of this order is the cause to report."""

    DRAINING = "draining"
    OLD_SERVER = "old_server"
    RIGHTS = "rights"
    READ_ONLY = "read_only"
    MEMORY_FULL = "memory_full"
    WRITES_REFUSED = "writes_refused"
    STARTING = "starting"
    LOOPS_HANG = "loops_hang"
    TASK_REFUSED = "task_refused"
    PUSHES_DOWN = "pushes_down"
    CLUSTER_NODE = "cluster_node"
    REDIS_SILENT = "redis_silent"
    UPSTREAM_KEY = "upstream_key"
    NO_UPSTREAM = "no_upstream"
    UPSTREAM = "upstream"
    UPSTREAM_REFUSED = "upstream_refused"
    NO_WORKER = "no_worker"
    HISTORY_AWAY = "history_away"
    SECRET_REFUSED = "secret_refused"  # noqa: S105  # a code, not a secret


_ORDER = {code: number for number, code in enumerate(Code)}


class Weight(Enum):
    """What a condition means to a process. Another part logs the changes of a quiet one."""

    FATAL = "fatal"
    FATAL_QUIET = "fatal, quiet"
    NAMED = "named"
    NAMED_QUIET = "named, quiet"

    @property
    def is_fatal(self) -> bool:
        """Whether a process with this condition is not ready."""
        return self in {Weight.FATAL, Weight.FATAL_QUIET}

    @property
    def is_quiet(self) -> bool:
        """Whether another part of the process logs the changes."""
        return self in {Weight.FATAL_QUIET, Weight.NAMED_QUIET}


Table = Mapping[Code, Weight]


class Condition(NamedTuple):
    """A condition, and the words of the program that refuses, such as Redis."""

    code: Code
    words: str


class Conditions:
    """The present conditions of one process. Each change is logged once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._current: dict[Code, Condition] = {}

    @property
    def fatal(self) -> Condition | None:
        """The condition because of which this process is not ready; None if it is ready."""
        return next((each for each in self.all if self._table[each.code].is_fatal), None)

    @property
    def all(self) -> list[Condition]:
        """All conditions, the cause first."""
        return sorted(self._current.values(), key=lambda each: _ORDER[each.code])

    def gauge(self) -> dict[str, float]:
        """1 for each condition that there is, and 0 for all others, by code."""
        return {code: float(code in self._current) for code in self._table}

    def with_those_of_others(self, others: Iterable[Condition]) -> "Conditions":
        """These, and of `others` those that this process has not itself; logs nothing."""
        joined = Conditions(self._table)
        joined._current = {**{each.code: each for each in others}, **self._current}
        return joined

    def update(self, found: Sequence[Condition]) -> None:
        """Take what a look has found, of each code the first."""
        before, self._current = self._current, {each.code: each for each in reversed(found)}
        for each in self.all:
            if each.code not in before and not self._table[each.code].is_quiet:
                log.warning(
                    "a condition began",
                    code=str(each.code),
                    reason=each.words,
                    is_fatal=self._table[each.code].is_fatal,
                )
        for code in before:
            if code not in self._current and not self._table[code].is_quiet:
                log.info("a condition ended", code=str(code))


Look = Callable[[], Awaitable[Sequence[Condition]]]


class Looks:
    """Looks at the conditions, one look at a time, which answers everybody who asks meanwhile.

    Anybody may call a probe, and a look writes to Redis. So a look is good for `age_s`.
    """

    def __init__(self, look: Look, conditions: Conditions, *, age_s: float) -> None:
        self._look = look
        self._age_s = age_s
        self._looking = asyncio.Lock()
        self._looked_s = float("-inf")
        self.conditions = conditions

    async def newest(self) -> Conditions:
        """The conditions by a look that began less than `age_s` before this call, or after it."""
        oldest_s = time.monotonic() - self._age_s
        async with self._looking:
            if self._looked_s < oldest_s:
                self._looked_s = time.monotonic()
                self.conditions.update(await self._look())
        return self.conditions

    async def run(self, interval_s: float) -> None:
        """Look again and again, also if nobody asks, until cancelled.

        A look that fails ends no process. The failure is logged once until a look succeeds, and a
        caller of `newest` gets its error.
        """
        failed = ""
        while True:
            try:
                await self.newest()
            except Exception as error:
                if failed != type(error).__name__:
                    log.warning("a look at the conditions failed", exc_info=error)
                failed = type(error).__name__
            else:
                failed = ""
            await asyncio.sleep(interval_s)
