"""Pure: which models are functions of workers, and which requests go to one of them."""

from collections.abc import Callable, Iterator

from tickertape.api.edge.problems import Problem
from tickertape.broker.fleet import Members
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.upstream_models import MODELS_TTL_S

_MOST_NAMED = 20


def listed_functions(members: Members) -> Iterator[str]:
    """The functions that a worker runs, or ran in the last minutes, as the upstream's models."""
    for pool, age_s in members.announced.items():
        if pool != UPSTREAM and age_s < MODELS_TTL_S:
            yield pool


def pool_of(model: str | None, members: Members, may_use: Callable[[str], bool]) -> str:
    """The pool of a request for a model; None is the default of the workers.

    Without an upstream, the only function is the default. A function keeps its requests for an hour
    after its last worker: they wait for its restart.
    Raises Problem for a model that nobody runs: all workers run functions only, or have upstreams
    whose table names all of their models.
    """
    if model is not None and model != UPSTREAM and model in members.announced:
        return model
    served = _only_models(members)
    if _has_upstream(members) and (model is None or served is None or model in served):
        return UPSTREAM
    functions = [name for name in listed_functions(members) if may_use(name)]
    if model is None and served is None and len(functions) == 1:
        return functions[0]
    models = [name for name in served or () if name not in functions and may_use(name)]
    names = ", ".join([*functions, *models][:_MOST_NAMED]) or "none"
    what = "these functions" if served is None else "these"
    raise Problem(
        404,
        "model_not_found",
        f"No worker runs this model. Name one of {what} in `model`: {names}.",
        param="model",
    )


def _only_models(members: Members) -> list[str] | None:
    """The models that requests to the upstream may name; None if workers take any."""
    of_upstream = [seen.report for seen in members.workers if seen.report.serves_upstream]
    served = [report.models for report in of_upstream if report.models is not None]
    if not served or len(served) < len(of_upstream):
        return None
    return [*dict.fromkeys(name for names in served for name in names)]


def _has_upstream(members: Members) -> bool:
    """Whether a worker sends requests to the upstream, or no worker at all is known."""
    of_upstream = any(seen.report.serves_upstream for seen in members.workers)
    return of_upstream or UPSTREAM in members.announced or not members.workers
