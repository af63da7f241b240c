"""The cost of a token and of a watcher as a system grows, beside what the simulation predicts."""

from collections.abc import Callable

from bench.box import Box
from bench.capacity import costs
from bench.capacity.demand import processes_of
from bench.capacity.simulation import COSTS, Costs, Simulated, Simulation, System
from bench.report import Bound, Report, Spread, Table, ratios, short
from bench.scaled import SPREAD_READERS, TOKENS_PER_S, ScaledRound, Size, Used, play, play_spread

_BASE = "the smallest"
_SIZES = {
    _BASE: Size(),
    "4 partitions": Size(partitions=4),
    "16 partitions": Size(partitions=16),
    "2 workers": Size(workers=2, load=2),
    "4 workers": Size(workers=4, load=4),
    "2 API processes": Size(apis=2, load=2),
    "4 API processes": Size(apis=4, load=4),
    "3 masters": Size(partitions=16, masters=3, load=3),
    "3 masters with replicas": Size(partitions=16, masters=3, replicas=1, load=3),
    "4 times the load": Size(load=4),
    "all of these": Size(workers=4, partitions=16, masters=3, apis=4, load=4),
}
# Watchers and requests are measured at these sizes.
_WHOLE = (_BASE, "16 partitions", "4 API processes", "3 masters", "all of these")
_QUICK = (_BASE, "16 partitions", "all of these")
_LARGEST = "all of these"
_KINDS = ("worker", "redis", "api", "total")
_MOST = 1.2
_SPREAD = (1, 4)
_SIMULATED_S = 2.0
# In the bench, the workers share one core, and all other processes share another one.
_CORES = (0, 1, 1)

Played = dict[str, list[ScaledRound]]


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure each size in each round, and simulate it with the costs of the round's smallest."""
    names = _QUICK if box.is_quick else tuple(_SIZES)
    played: Played = {name: [] for name in names}
    spread: dict[int, list[Used]] = {count: [] for count in _SPREAD}
    for number in range(rounds):
        first = number % len(names)
        for name in [*names[first:], *names[:first]]:
            played[name].append(await play(box, _SIZES[name], is_whole=name in _WHOLE))
        for count, rounds_of_count in spread.items():
            rounds_of_count.append(await play_spread(box, count))
    return _report(played, spread)


_NOTE = (
    "Each process keeps its load: k workers or k API processes have k times 40 generations of 8"
    " tokens a second, each with a reader, and three masters have three times as many. `4 times the"
    " load` gives the smallest system more to do, which makes a token cheaper. A watcher is"
    " one of 200 readers for each API process, who all read one log. In the last table, each answer"
    " has four readers who chose a process by chance; the model's figures are for its own machine."
)


def _report(played: Played, spread: dict[int, list[Used]]) -> Report:
    simulated = {
        name: [_simulated(_SIZES[name], base) for base in played[_BASE]] for name in played
    }
    return Report(
        tables=[_costs(played), _beside(played, simulated), _requests(played), _spread_out(spread)],
        bounds=[*_flat(played), *_deviations(played, simulated)],
        notes=[_NOTE],
    )


def _costs(played: Played) -> Table:
    rows = [
        [
            name,
            *(str(_spread(rounds, kind)) for kind in _KINDS),
            _figure(rounds, lambda each: each.watcher_us) if name in _WHOLE else "-",
        ]
        for name, rounds in played.items()
    ]
    columns = ("CPU, us", "worker", "Redis", "API", "token, all three", "watcher and token")
    return Table(columns, rows)


def _beside(played: Played, simulated: dict[str, list[Simulated]]) -> Table:
    rows = []
    for name, rounds in played.items():
        predicted = Spread(tuple(each.us_per_token for each in simulated[name]))
        rows.append(
            [
                name,
                str(predicted),
                str(_deviation(rounds, simulated[name])),
                short(Spread(tuple(each.p50_ms for each in simulated[name])).median),
                short(Spread(tuple(each.p50_ms for each in rounds)).median),
            ]
        )
    columns = (
        "simulated", "CPU of a token, us", "measured, of that", "delay p50, ms", "measured, ms",
    )  # fmt: skip
    return Table(columns, rows)


def _requests(played: Played) -> Table:
    """What a request costs besides its tokens, and the memory of an answer while it is written."""
    figures: tuple[Callable[[ScaledRound], float], ...] = (
        lambda each: each.request.worker / 1e3,
        lambda each: each.request.redis / 1e3,
        lambda each: each.request.api / 1e3,
        lambda each: each.worker_kib,
        lambda each: each.api_kib,
    )
    rows = [
        [name, *(_figure(played[name], figure) for figure in figures)]
        for name in (_BASE, _LARGEST)
        if name in played
    ]
    columns = (
        "a request with one token, CPU, ms", "worker", "Redis", "API",
        "an answer in a worker, KiB", "in the API, KiB",
    )  # fmt: skip
    return Table(columns, rows)


def _figure(rounds: list[ScaledRound], figure: Callable[[ScaledRound], float]) -> str:
    return str(Spread(tuple(map(figure, rounds))))


def _spread_out(spread: dict[int, list[Used]]) -> Table:
    """What it costs that the readers of an answer are at several processes, beside the model."""
    rows = []
    for count, rounds in spread.items():
        readers = processes_of(SPREAD_READERS, count)
        redis = costs.REDIS.turn_us + costs.REDIS.of_message(writes=readers - 1)
        api = costs.API.turn_us + costs.API.of_message(writes=SPREAD_READERS / readers)
        rows.append(
            [
                f"{count}",
                short(readers),
                str(Spread(tuple(each.redis for each in rounds))),
                short(redis),
                str(Spread(tuple(each.api for each in rounds))),
                short(api * readers),
            ]
        )
    columns = (
        "API processes", "of which read an answer", "Redis, us a token", "model", "API, us",
        "model",
    )  # fmt: skip
    return Table(columns, rows)


def _flat(played: Played) -> list[Bound]:
    """The cost of each size, of the smallest one's: of the processes that grow in number."""
    watched = {
        "4 partitions": "total",
        "16 partitions": "total",
        "2 workers": "worker",
        "4 workers": "worker",
        "2 API processes": "api",
        "4 API processes": "api",
        "3 masters": "redis",
        "3 masters with replicas": "redis",
        "4 times the load": "total",
        "all of these": "total",
    }
    words = {
        "total": "token",
        "worker": "token, worker",
        "api": "token, API",
        "redis": "token, Redis",
    }
    bounds = []
    for name, kind in watched.items():
        if name in played:
            ratio = _of_base(played, name, kind)
            bounds.append(Bound(f"{words[kind]}: {name}, of {_BASE}'s", ratio, _MOST))
    base = [each.watcher_us for each in played[_BASE]]
    for name in _WHOLE[1:]:
        if name in played:
            ratio = ratios([each.watcher_us for each in played[name]], base)
            bounds.append(Bound(f"watcher: {name}, of {_BASE}'s", ratio, _MOST))
    return bounds


def _deviations(played: Played, simulated: dict[str, list[Simulated]]) -> list[Bound]:
    """How far the simulation is from the real run: the larger of the two, over the other."""
    bounds = []
    for name, rounds in played.items():
        if name != _BASE:
            deviation = _deviation(rounds, simulated[name])
            away = Spread(tuple(max(value, 1 / value) for value in deviation.values))
            bounds.append(Bound(f"simulation and real run: {name}", away, _MOST))
    return bounds


def _deviation(rounds: list[ScaledRound], simulated: list[Simulated]) -> Spread:
    return ratios([each.token.total for each in rounds], [each.us_per_token for each in simulated])


def _of_base(played: Played, name: str, kind: str) -> Spread:
    return ratios(_spread(played[name], kind).values, _spread(played[_BASE], kind).values)


def _spread(rounds: list[ScaledRound], kind: str) -> Spread:
    return Spread(tuple(getattr(each.token, kind) for each in rounds))


def _simulated(size: Size, base: ScaledRound) -> Simulated:
    """The size, with costs that give this round's figures for the smallest size."""
    start = _run(Size(), COSTS)
    machine = Costs(
        costs.WORKER.scaled(base.token.worker / start.worker_us),
        costs.REDIS.scaled(base.token.redis / start.redis_us),
        costs.API.scaled(base.token.api / start.api_us),
    )
    return _run(size, machine)


def _run(size: Size, price: Costs) -> Simulated:
    system = System(
        generations=size.generations,
        tokens_per_s=TOKENS_PER_S,
        workers=size.workers,
        masters=size.masters,
        apis=size.apis,
        cores=_CORES,
    )
    return Simulation(system, price).run(_SIMULATED_S)
