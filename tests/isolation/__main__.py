"""`python -m tests.isolation tags`: exit code 0 if no tenant harms another one."""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from tests.isolation.flood import MOST_RATIO, Flood, flood
from tests.isolation.secrets_story import allow_cores, search_for_secrets
from tests.isolation.tags import read_marks


def main() -> int:
    """Run once, and print what it has shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.isolation", description=__doc__)
    parser.add_argument("--logs", type=Path, help="a directory for what the processes log")
    runs = parser.add_subparsers(dest="run", required=True)
    tags = runs.add_parser("tags", help="every token is marked, and no reader gets a foreign one")
    tags.add_argument("--deltas", type=int, default=5_000_000)
    tags.add_argument("--seed", type=int, default=1)
    tags.add_argument("--control", action="store_true", help="an API that mixes callers")
    flooding = runs.add_parser("flood", help="a tenant floods, and another one is measured")
    flooding.add_argument("--submits", type=int, default=10_000)
    flooding.add_argument("--streams", type=int, default=1000)
    flooding.add_argument("--without-bodies", action="store_true", help="only submits and streams")
    searching = runs.add_parser("secrets", help="all that a run leaves behind is searched")
    searching.add_argument("--control", action="store_true", help="with a planted leak")
    given = parser.parse_args()
    with _directory(given.logs) as directory:
        if given.run == "tags":
            record = uvloop.run(
                read_marks(directory, given.seed, deltas=given.deltas, is_broken=given.control)
            )
            print(record.report())
            return 0 if record.is_clean else 1
        if given.run == "secrets":
            allow_cores()
            found = asyncio.run(search_for_secrets(directory, leaks=given.control))
            print(found.report())
            return 1 if found.hits else 0
        of = Flood(given.submits, given.streams, has_bodies=not given.without_bodies)
        waits = asyncio.run(flood(directory, of))
    print(waits.report())
    return 0 if waits.ratio <= MOST_RATIO else 1


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="isolation-") as made:
        yield Path(made)


if __name__ == "__main__":
    sys.exit(main())
