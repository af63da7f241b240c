"""`python -m tests.rolling`: exit code 0 if no wire noticed that everything was replaced."""

import argparse
import contextlib
import io
import signal
import sys
import tempfile
from pathlib import Path

import uvloop

from tests.rolling.run import Recipe, run
from tests.support.releases import COMMITS


def _tell(line: str) -> None:
    print(line, file=sys.__stdout__, flush=True)


def main() -> int:
    """Run once, and print what it has shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.rolling", description=__doc__)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--shortest", type=float, default=5, help="seconds of an answer")
    parser.add_argument("--longest", type=float, default=60, help="seconds of an answer")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--redis", choices=["one", "sentinel"], default="one")
    parser.add_argument("--from", dest="version", choices=list(COMMITS), help="upgrade from it")
    parser.add_argument("--control", action="store_true", help="SIGKILL; must not be clean")
    parser.add_argument("--logs", type=Path, help="a directory for what the processes log")
    given = parser.parse_args()
    recipe = Recipe(
        given.streams,
        (given.shortest, given.longest),
        given.seed,
        given.redis,
        given.version,
        signal.SIGKILL if given.control else signal.SIGTERM,
    )
    with tempfile.TemporaryDirectory(prefix="rolling-") as directory:
        folder = given.logs or Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        # Programs print their logs when they are stopped, for pytest.
        with contextlib.redirect_stdout(io.StringIO()):
            verdict = uvloop.run(run(recipe, folder, tell=_tell))
    print(verdict.report())
    return 0 if verdict.is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
