"""The machine under measurement: who runs on which core, and what a process has cost.

The server under test has the first core to itself. Everything that feeds and reads it (Redis, the
source, the load generator, this process) shares the second, so that it costs the server nothing.
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
    """Where a bench runs. `directory` is for its files and goes away with it."""

    directory: Path
    is_quick: bool = False

    def some(self, count: int) -> int:
        """So many; in a quick look a tenth of them."""
        return max(1, count // 10) if self.is_quick else count

    @contextlib.contextmanager
    def on_server_core(self) -> Iterator[None]:
        """Processes started in this block run on the server's core alone, and so do their children.

        The affinity is that of the thread which starts them: start them from this one.
        """
        os.sched_setaffinity(0, {SERVER_CORE})
        try:
            yield
        finally:
            os.sched_setaffinity(0, {OTHERS_CORE})


@contextlib.contextmanager
def prepared(*, is_quick: bool = False) -> Iterator[Box]:
    """A box for the length of the block; raises TooFewCores.

    This process moves to the second core, and may hold as many files as the machine lets it, which
    what it starts inherits: a connection is a file, on both of its sides.
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


def cpu_s(pids: Iterable[int]) -> float:
    """Seconds that these processes, with their children, have run on a core until now.

    From schedstat, which counts in ns and counts the kernel's work for them too.
    https://docs.kernel.org/scheduler/sched-stats.html
    """
    return sum(_own_cpu_s(pid) for pid in family(pids))


def resident_kib(pids: Iterable[int]) -> int:
    """Memory of these processes, with their children, in KiB; a shared page is split among them."""
    return sum(_pss_kib(pid) for pid in family(pids))


def family(pids: Iterable[int]) -> list[int]:
    """These processes and all that come from them."""
    found = list(pids)
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text("ascii").split())
    return found


def machine() -> str:
    """What it is measured on."""
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
