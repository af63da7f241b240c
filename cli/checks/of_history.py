"""Looks at the database of the history. Changes nothing in it, and shows no address."""

import asyncio

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok
from tickertape.history.opening import HistoryUnavailable, open_history
from tickertape.runtime.settings import Settings

# Longer than a connection may take.
_ANSWER_S = 8.0


async def findings(settings: Settings, *, limit_s: float = _ANSWER_S) -> list[Finding]:
    """Whether the database, if there is one, answers, has the tables and takes writes."""
    try:
        history = open_history(settings)
    except SettingsInvalid as invalid:
        return [CASES["history-url"].found(problem=str(invalid))]
    if history is None:
        return []
    from tickertape.history.examination import examine  # an extra installs SQLAlchemy

    try:
        async with asyncio.timeout(limit_s):
            found = await examine(history)
    except (HistoryUnavailable, TimeoutError) as error:
        problem = str(error) or f"no answer within {limit_s:g} s"
        return [CASES["history-away"].found(problem=problem.rstrip("."))]
    finally:
        await history.aclose()
    if found.version > found.known:
        return [CASES["history-newer"].found(version=found.version, known=found.known)]
    if found.lacks:
        return [CASES["history-tables"].found(lacks="; ".join(found.lacks))]
    state = "will get its tables" if found.is_new else f"has the tables of version {found.version}"
    return [ok("history-answers", f"the database answers, takes writes and {state}")]
