"""Pure: the order in which the upstreams that serve a model are tried."""

import random
from collections.abc import Collection, Iterable
from typing import Protocol, TypeVar

from tickertape.worker.upstreams.breaker import Breaker
from tickertape.worker.upstreams.table import Row


class Candidate(Protocol):
    """What the choice looks at."""

    @property
    def row(self) -> Row: ...

    @property
    def breaker(self) -> Breaker: ...


C = TypeVar("C", bound=Candidate)


def ranked(candidates: Iterable[C], tried: Collection[str], rng: random.Random) -> list[C]:
    """The candidates, the first choice first.

    Those that have not failed for this request come before those that have, then those whose
    breaker admits calls. Among these, the lower `order` comes first. Of one order, each is first as
    often as its weight is a share of all weights. Those whose breaker is open come last, the one
    that is to be tried soonest first.
    """

    def rank(each: C) -> tuple[bool, bool, float, float]:
        row, breaker = each.row, each.breaker
        has_failed, admits = row.name in tried, breaker.admits
        # https://en.wikipedia.org/wiki/Reservoir_sampling#Algorithm_A-Res
        lot = -(rng.random() ** (1 / row.weight))
        return (has_failed, not admits, row.order if admits else breaker.admits_at, lot)

    return sorted(candidates, key=rank)
