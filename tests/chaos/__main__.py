"""`python -m tests.chaos --seconds 60 --seed 1`: exit code 0 if no invariant was broken."""

import argparse
import random
import sys
from pathlib import Path

import uvloop

from tests.chaos.run import run
from tests.chaos.system import ENGINES


def main() -> int:
    """Run once, and print what it has shown."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--redis", choices=list(ENGINES), default="one", help="the kind of Redis")
    parser.add_argument(
        "--control", action="store_true", help="without the fence; must break invariants"
    )
    parser.add_argument("--upstreams", type=int, default=1, help="2 with a table of upstreams")
    parser.add_argument("--hand-on", action="store_true", help="with webhooks and a history")
    parser.add_argument("--logs", type=Path, help="a directory for what the processes log")
    given = parser.parse_args()
    seed = random.randrange(1_000_000) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    verdict = uvloop.run(
        run(
            given.seconds,
            seed,
            kind=given.redis,
            is_fenced=not given.control,
            upstreams=given.upstreams,
            hands_on=given.hand_on,
            log_directory=given.logs,
        )
    )
    print(verdict.report())
    return 1 if verdict.broken else 0


if __name__ == "__main__":
    sys.exit(main())
