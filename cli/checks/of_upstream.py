"""Pure: judges what the upstream offers."""

from collections.abc import Iterable

from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok

_SHOWN = 5


def model_finding(wanted: str | None, offered: Iterable[str]) -> Finding:
    """Checks OPENAI_MODEL against the list of models of the upstream."""
    names = sorted(offered)
    if wanted is None:
        return CASES["upstream-no-model"].found(offered=_some(names))
    if names and wanted not in names:
        return CASES["upstream-model"].found(model=wanted, offered=_some(names))
    return ok("upstream-model", f"offers {wanted}, the model of OPENAI_MODEL")


def _some(names: list[str]) -> str:
    if not names:
        return "It lists no models"
    more = " ..." if len(names) > _SHOWN else ""
    return f"It offers {', '.join(names[:_SHOWN])}{more}"
