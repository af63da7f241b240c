"""`tickertape doctor`: checks everything that a start needs. Starts nothing and shows no secret."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterator

import structlog

from tickertape.cli.checks.examine import Place, examine
from tickertape.cli.checks.finding import Finding, Level, Role, count, report
from tickertape.cli.exits import Exit


def run(role: Role, place: Place, *, is_json: bool = False) -> int:
    """Print each finding with its fix. Returns Exit.FAILED if one of them prevents the work."""
    with _without_logs():
        found = asyncio.run(examine(role, place))
    if is_json:
        print(json.dumps(report(role, found), indent=2))
    else:
        _print_lines(found)
    return Exit.FAILED if count(found, Level.FAIL) else Exit.OK


@contextlib.contextmanager
def _without_logs() -> Iterator[None]:
    """Keep the log of the parts in use out of the report, which says the same in words."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def _print_lines(found: list[Finding]) -> None:
    for finding in found:
        print(finding)
    failures = count(found, Level.FAIL)
    print(f"\nProblems to fix: {failures}." if failures else "\nNo problem prevents a start.")
