"""The capacity model: its formula, its simulation and docs/scaling.md agree with each other."""

import itertools
from dataclasses import replace

import pytest

from bench.capacity import costs
from bench.capacity.__main__ import COMPUTED, DOCUMENT, computed
from bench.capacity.demand import Load, processes_of
from bench.capacity.limits import by_order
from bench.capacity.plan import ONE_SYSTEM, TERMS, TooLarge, plan
from bench.capacity.sections import DECADES, WHOLE
from bench.capacity.simulation import Simulation, System
from bench.capacity.turns import TurnCosts, busy_share, rate_at, us_per_message


@pytest.mark.parametrize("row", costs.ROWS, ids=lambda row: f"{row.process}: {row.what}")
def test_the_costs_of_turns_are_near_every_row_that_was_measured(row: costs.Row) -> None:
    assert 0.7 < row.deviation < 1.35


@pytest.mark.parametrize("per_s", [40, 800, 4000, 20_000])
def test_the_formula_gives_what_the_simulation_of_one_process_gives(per_s: int) -> None:
    price = costs.WORKER
    run = Simulation(System(generations=per_s // 2, tokens_per_s=2)).run(0.25)
    modelled = us_per_message(price.turn_us, price.of_message(), per_s)
    assert run.worker_us == pytest.approx(modelled, rel=0.1)


def test_a_message_costs_less_the_more_messages_there_are() -> None:
    prices = [us_per_message(150, 45, per_s) for per_s in (1, 1000, 5000, 10_000, 20_000)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] == pytest.approx(195, rel=0.01)
    assert prices[-1] > 45


def test_more_messages_than_a_core_can_take_need_more_than_a_core() -> None:
    assert busy_share(150, 50, 40_000) == 2


def test_the_rate_for_a_share_of_a_core_keeps_a_core_busy_for_that_share() -> None:
    assert busy_share(45, 24, rate_at(45, 24, 0.6)) == pytest.approx(0.6)


def test_costs_of_a_slower_machine_are_larger_in_every_part() -> None:
    assert TurnCosts(1, 2, 3, 4).scaled(2) == TurnCosts(2, 4, 6, 8)


def test_readers_by_chance_are_at_as_many_processes_as_there_are_of_the_fewer() -> None:
    assert processes_of(1000, 4) == pytest.approx(4)
    assert processes_of(4, 100_000) == pytest.approx(4, rel=0.001)
    assert processes_of(10, 1) == 1


def test_ten_times_the_users_need_at_most_ten_times_the_means() -> None:
    plans = [plan(WHOLE.grown(watchers / WHOLE.watchers)) for watchers in DECADES[1:]]
    for small, large in itertools.pairwise(plans):
        assert large.machines <= 10 * small.machines
        assert large.usd_per_million_tokens <= small.usd_per_million_tokens


@pytest.mark.parametrize(
    "more",
    [
        replace(WHOLE, watchers=2e6),
        replace(WHOLE, tokens_per_s=40),
        replace(WHOLE, retention_s=7 * 86_400),
        replace(WHOLE, reconnect_every_s=30),
        replace(WHOLE, is_routed=False),
    ],
)
def test_more_work_needs_more_machines(more: Load) -> None:
    assert plan(more).machines > plan(WHOLE).machines


def test_a_cluster_has_at_least_three_masters() -> None:
    assert plan(Load(6000, 600)).masters == 3
    assert plan(Load(1000, 100)).masters == 1


def test_one_system_is_too_small_for_any_number_of_users() -> None:
    with pytest.raises(TooLarge):
        plan(WHOLE.grown(100), ONE_SYSTEM)
    assert plan(WHOLE.grown(100)).systems == 100 * plan(WHOLE).systems


def test_each_process_of_a_plan_is_no_busier_than_planned() -> None:
    system = plan(WHOLE.grown(1 / 10))
    per_s = system.load.tokens / system.workers
    assert busy_share(costs.WORKER.turn_us, costs.WORKER.of_message(), per_s) <= TERMS.busy


def test_limits_are_reached_in_the_order_of_the_document() -> None:
    reached = [watchers for watchers, _ in by_order(WHOLE)]
    assert reached == sorted(reached)
    assert reached[0] > 1000
    assert reached[-1] < WHOLE.watchers


def test_the_simulation_loses_no_token_and_grows_no_cheaper_with_fewer() -> None:
    few, many = (Simulation(System(count, 20)).run(0.5) for count in (10, 250))
    assert few.us_per_token > many.us_per_token
    assert few.p50_ms < many.p50_ms < many.p99_ms


def test_processes_that_share_a_core_wait_for_each_other() -> None:
    alone = Simulation(System(200, 20)).run(0.5)
    together = Simulation(System(200, 20, cores=(0, 0, 0))).run(0.5)
    assert together.p50_ms > alone.p50_ms


@pytest.mark.parametrize(
    "name",
    [
        # The simulation of a whole system takes seconds.
        pytest.param(name, marks=[pytest.mark.slow] if name == "simulated" else [])
        for name in COMPUTED
    ],
)
def test_the_document_has_what_the_model_computes(name: str) -> None:
    text = DOCUMENT.read_text("utf-8")
    assert computed(text, name) == text, "run `python -m bench.capacity`"


def test_the_words_of_the_document_have_the_figures_of_its_tables() -> None:
    text = DOCUMENT.read_text("utf-8")
    first, redis = (f"{each:,.0f}" for each in (1600, 4500))
    order = by_order(WHOLE)
    assert f"a worker, at some {first} watchers" in text
    assert f"the Redis server, at some {redis} watchers" in text
    assert f"{float(f'{order[0][0]:.1e}'):,.0f}" == first
    assert any(
        f"{float(f'{watchers:.1e}'):,.0f}" == redis and "Redis server" in limit.name
        for watchers, limit in order
    )
    assert 1 / plan(WHOLE).usd_per_million_tokens == pytest.approx(9, abs=0.5)
