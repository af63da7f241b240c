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

    A function keeps its requests for an hour after its last worker: they wait for its restart.
    Raises Problem for a model that nobody runs, because all workers run functions only.
    """
    if model is not None and model != UPSTREAM and model in members.announced:
        return model
    if _has_upstream(members):
        return UPSTREAM
    usable = [name for name in listed_functions(members) if may_use(name)]
    names = ", ".join(usable[:_MOST_NAMED]) or "none"
    raise Problem(
        404,
        "model_not_found",
        f"No worker runs this model. Name one of these functions in `model`: {names}.",
        param="model",
    )


def _has_upstream(members: Members) -> bool:
    """Whether a worker sends requests to the upstream, or no worker at all is known."""
    of_upstream = any(seen.report.serves_upstream for seen in members.workers)
    return of_upstream or UPSTREAM in members.announced or not members.workers
