"""The report of the shape `scaling`: ratios to the smallest system, and to the simulation."""

from bench.capacity.simulation import COSTS
from bench.report import Report
from bench.scaled import ScaledRound, Size, Used
from bench.shapes import scaling


def round_of(size: Size, *, times: float = 1.0) -> ScaledRound:
    """A round in which everything costs `times` what the simulation says."""
    run = scaling._run(size, COSTS)
    used = Used(run.worker_us * times, run.redis_us * times, run.api_us * times)
    return ScaledRound(used, 20.0 * times, used, run.p50_ms, run.p99_ms, 100, 50)


def verdicts(report: Report) -> dict[str, bool]:
    return {bound.what: bound.is_held for bound in report.bounds}


def test_a_system_that_costs_what_the_simulation_says_holds_every_bound() -> None:
    played = {name: [round_of(size, times=3)] for name, size in scaling._SIZES.items()}
    report = scaling._report(played, {1: [Used(1, 1, 1)], 4: [Used(1, 1, 1)]})
    assert all(verdicts(report).values())
    assert len(report.bounds) == 2 * (len(played) - 1) + len(scaling._WHOLE) - 1


def test_a_system_that_costs_more_as_it_grows_holds_no_bound_of_that_size() -> None:
    small, large = scaling._BASE, scaling._LARGEST
    played = {
        small: [round_of(scaling._SIZES[small])],
        large: [round_of(scaling._SIZES[large], times=1.5)],
    }
    assert not any(verdicts(scaling._report(played, {})).values())
