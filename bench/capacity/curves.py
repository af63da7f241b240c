"""The curves of docs/scaling.md: how costs and means grow with each number."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from bench.capacity import costs
from bench.capacity.demand import Load
from bench.capacity.limits import background_share
from bench.capacity.plan import ONE_SYSTEM, TERMS, Plan, TooLarge, api_processes, plan
from bench.capacity.sections import WHOLE
from bench.capacity.simulation import Simulated, Simulation, System
from bench.capacity.turns import TurnCosts, busy_share
from bench.report import Plot, Table, short

_WATCHERS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
_READERS = (1, 3, 10, 30, 100, 300, 1_000)
_PARTITIONS = (32, 64, 128, 256, 512, 1024)
_PROCESSES = (1, 2, 4, 8, 16, 32, 64)
_SHARED_TOKENS = 20_000
_GENERATIONS = (25, 50, 100, 150, 200, 250, 300)
_LENGTH_S = 1.0
# One system of the plan has a fifth of a second, which is 40,000 tokens.
_SYSTEM_LENGTH_S = 0.2


def plots() -> list[Plot]:
    """All curves."""
    return [
        Plot("processes", "Processes that a load needs", "watchers", "processes", _by_watchers()),
        Plot("readers", "10,000 generations, by their readers", "readers of an answer",
             "API processes", _by_readers()),
        Plot("shared", "20,000 tokens/s on more processes", "processes of a kind",
             "CPU of a token, us", _by_processes()),
        Plot("background", "Calls besides the answers, in one system", "watchers",
             "% of Redis", {"one system": list(_background())}),
        Plot("partitions", "Calls besides the answers, 100,000 watchers", "partitions",
             "% of Redis", {"a system of the plan": list(_by_partitions())}),
        Plot("delay", "Simulated: one worker, one Redis, one API process", "worker: % of a core",
             "delay of a token, ms", _delays(), is_log_x=False),
        Plot("money", "What a load costs", "watchers", "$ a month", _money()),
    ]  # fmt: skip


def simulated() -> Table:
    """The simulation of one worker, and of one whole system of the plan."""
    rows = [_row(f"{count} generations", _simulate(count)) for count in _GENERATIONS]
    system = _system()
    whole = System(
        generations=round(system.load.generations),
        tokens_per_s=WHOLE.tokens_per_s,
        workers=system.workers,
        masters=system.masters,
        apis=system.apis,
        readers=round(system.load.readers),
    )
    rows.append(_row("a system of the plan", Simulation(whole).run(_SYSTEM_LENGTH_S)))
    return Table(
        ("", "worker, us a token", "Redis, us", "API, us", "busiest core", "delay p50 / p99, ms"),
        rows,
    )


def _row(name: str, each: Simulated) -> list[str]:
    return [
        name,
        short(each.worker_us),
        short(each.redis_us),
        short(each.api_us),
        f"{100 * each.busiest:.0f} %",
        f"{each.p50_ms:.2f} / {each.p99_ms:.2f}",
    ]


def _simulate(generations: int) -> Simulated:
    return Simulation(System(generations, WHOLE.tokens_per_s)).run(_LENGTH_S)


def _of(watchers: float) -> Load:
    return WHOLE.grown(watchers / WHOLE.watchers)


def _by_watchers() -> dict[str, list[tuple[float, float]]]:
    plans = [plan(_of(watchers)) for watchers in _WATCHERS]
    kinds: dict[str, Callable[[Plan], int]] = {
        "workers": lambda each: each.workers,
        "API": lambda each: each.apis,
        "Redis masters": lambda each: each.masters,
    }
    return {
        name: [(each.load.watchers, count(each)) for each in plans] for name, count in kinds.items()
    }


def _by_readers() -> dict[str, list[tuple[float, float]]]:
    def curve(*, is_routed: bool) -> list[tuple[float, float]]:
        load = Load(0, 10_000, is_routed=is_routed)
        loads = [replace(load, watchers=10_000 * readers) for readers in _READERS]
        return [(each.readers, api_processes(each, TERMS)[0]) for each in loads]

    return {"spread by chance": curve(is_routed=False), "routed": curve(is_routed=True)}


def _by_processes() -> dict[str, list[tuple[float, float]]]:
    def curve(price: TurnCosts, writes: float) -> Iterator[tuple[float, float]]:
        for count in _PROCESSES:
            per_s = _SHARED_TOKENS / count
            busy = busy_share(price.turn_us, price.of_message(writes=writes), per_s)
            if busy < 1:
                yield count, busy / per_s * 1e6

    return {
        "worker": list(curve(costs.WORKER, 0)),
        "Redis": list(curve(costs.REDIS, 0)),
        "API, one reader": list(curve(costs.API, 1)),
    }


def _background() -> Iterator[tuple[float, float]]:
    for watchers in _WATCHERS:
        try:
            whole = plan(_of(watchers), ONE_SYSTEM)
        except TooLarge:
            return
        yield watchers, 100 * background_share(whole)


def _by_partitions() -> Iterator[tuple[float, float]]:
    for partitions in _PARTITIONS:
        system = replace(_system(), partitions=partitions)
        yield partitions, 100 * background_share(system)


def _system() -> Plan:
    """One of the systems of the plan."""
    return plan(WHOLE.grown(1 / plan(WHOLE).systems))


def _delays() -> dict[str, list[tuple[float, float]]]:
    runs = [_simulate(generations) for generations in _GENERATIONS]
    return {
        "p50": [(100 * each.busiest, each.p50_ms) for each in runs],
        "p99": [(100 * each.busiest, each.p99_ms) for each in runs],
    }


def _money() -> dict[str, list[tuple[float, float]]]:
    plans = [plan(_of(watchers)) for watchers in _WATCHERS]
    return {
        "machines": [(each.load.watchers, each.machines_usd) for each in plans],
        "egress": [(each.load.watchers, each.egress_usd) for each in plans],
    }
