"""`python -m tests.fuzz --requests 100000 --seed 1`: exit code 0 if every answer was documented."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import allow_many_files, fuzz


def main() -> int:
    """Run once, and print what it has shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--control", action="store_true", help="a server without bounds; must be found faulty"
    )
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    allow_many_files()
    with tempfile.TemporaryDirectory(prefix="tickertape-fuzz-") as directory:
        verdict = asyncio.run(
            fuzz(given.requests, seed, Path(directory), is_safe=not given.control)
        )
    print(verdict.report())
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
