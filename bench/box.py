"""The machine under measurement: which process runs on which core, and the cost of a process.

The server under test has the first core to itself. All other processes (Redis, the source, the
load generator, this one) share the second core, so that they do not slow the server down.
"""

import contextlib
import os
import platform
import resource
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SERVER_CORE = 0
OTHERS_CORE = 1


class TooFewCores(RuntimeError):
    """The bench needs a core for the server and one for everything else."""


@dataclass(frozen=True)
class Box:
    """The surroundings of a bench run. `directory` is for its files, and is removed at the end."""

    directory: Path
    is_quick: bool = False

    def some(self, count: int) -> int:
        """`count`, or a tenth of it in a quick run."""
        return max(1, count // 10) if self.is_quick else count

    @contextlib.contextmanager
    def on_all_cores(self) -> Iterator[None]:
        """Processes that this thread starts in the block run on both cores, until `pin`."""
        os.sched_setaffinity(0, {SERVER_CORE, OTHERS_CORE})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {OTHERS_CORE})

    @contextlib.contextmanager
    def on_server_core(self) -> Iterator[None]:
        """Processes that this thread starts in the block run on the server's core only.

        Their children do too. Processes that other threads start are not affected.
        """
        os.sched_setaffinity(0, {SERVER_CORE})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {OTHERS_CORE})


@contextlib.contextmanager
def prepared(*, is_quick: bool = False) -> Iterator[Box]:
    """Yields a box. Raises TooFewCores.

    Until the end of the block, this process runs on the second core. It raises its limit of open
    files to the maximum, which its children inherit, because each connection needs two files.
    """
    allowed = os.sched_getaffinity(0)
    if not {SERVER_CORE, OTHERS_CORE} <= allowed:
        raise TooFewCores(
            "the bench measures the server on core 0 and runs everything else on core 1, and may"
            f" use only {sorted(allowed)}: run it on a machine with two cores"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {OTHERS_CORE})
    try:
        with tempfile.TemporaryDirectory(prefix="tickertape-bench-") as directory:
            yield Box(Path(directory), is_quick)
    finally:
        os.sched_setaffinity(0, allowed)


def pin(pids: Iterable[int], core: int) -> None:
    """From now on these processes and their children run on this core only."""
    for pid in family(pids):
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {core})


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds of CPU that these processes and their children have used.

    Read from schedstat, which counts in ns and includes the kernel's work for them.
    https://docs.kernel.org/scheduler/sched-stats.html
    """
    return sum(_own_cpu_s(pid) for pid in family(pids))


def resident_kib(pids: Iterable[int]) -> int:
    """The memory of these processes and their children in KiB; shared pages count once."""
    return sum(_pss_kib(pid) for pid in family(pids))


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all their descendants."""
    family_pids = list(pids)
    for pid in family_pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            family_pids += map(int, (task / "children").read_text("ascii").split())
    return family_pids


def machine() -> str:
    """One line that describes this machine: cores, CPU, system and Python."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    python = platform.python_version()
    return f"{len(models)} x {models[0]}, {platform.system()} {platform.release()}, Python {python}"


def _own_cpu_s(pid: int) -> float:
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text("ascii").split()[0]) for task in tasks) / 1e9


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
