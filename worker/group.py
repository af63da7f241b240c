"""Several worker processes of one command, and what each of them knows of the others."""

import gc
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tickertape.runtime.conditions import Code, Condition
from tickertape.runtime.probes import open_listeners
from tickertape.runtime.processes import ProcessTiming, number_of_process, run_processes
from tickertape.runtime.settings import Settings
from tickertape.runtime.siblings import Siblings

log = structlog.get_logger()

# For which a worker without Redis waits, after its drain.
_RELEASE_S = 15.0
_PRESENT = re.compile(rb'^tickertape_condition\{code="(\w+)"\} 1\.0$', re.MULTILINE)


@dataclass(frozen=True)
class Group:
    """What a process has in common with the others: memory, and the sockets for probes."""

    siblings: Siblings
    listeners: list[socket.socket]

    def join(self) -> None:
        """Take the place of this process, which `run_group` has started."""
        self.siblings.join(number_of_process())

    def is_another_at_work(self) -> bool:
        """Whether another process gave a sign of life lately."""
        return any(each.is_fresh for each in self.siblings.others())

    def conditions(self) -> list[Condition]:
        """What keeps the other processes from their work, or harms it."""
        others = [each.text for each in self.siblings.others() if each.is_fresh]
        codes = {code.decode() for text in others for code in _PRESENT.findall(text)}
        found = [Condition(Code(code), f"another process: {code}") for code in sorted(codes)]
        if missing := self.siblings.count - 1 - len(others):
            words = f"{missing} of {self.siblings.count} processes are not at work"
            found.append(Condition(Code.STARTING, words))
        return found


def run_group(
    count: int, work: Callable[..., int], arguments: tuple[object, ...], settings: Settings
) -> int:
    """Run `work(*arguments, group)` in `count` processes until a stop signal.

    Returns the exit code. The processes are replaced and ended as `run_processes` says. `work` must
    call `group.join`. Raises SettingsInvalid for a port of probes that cannot be used.
    """
    listeners = open_probes(settings)
    siblings = Siblings(count)
    # The children share the memory of what was imported as long as nobody writes to it.
    gc.collect()
    gc.freeze()
    log.info("starting processes", processes=count)
    timing = ProcessTiming(drain_s=settings.drain_s, end_within_s=_RELEASE_S)
    try:
        return run_processes(
            count, work, (*arguments, Group(siblings, listeners)), timing, siblings
        )
    finally:
        for each in listeners:
            each.close()


def open_probes(settings: Settings) -> list[socket.socket]:
    """The sockets on which a worker answers probes; none without a port. Raises SettingsInvalid."""
    return open_listeners(
        "TICKERTAPE_WORKER_HEALTH_PORT", settings.worker_health_host, settings.worker_health_port
    )
