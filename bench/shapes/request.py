"""A request's own CPU: answers of one token, in this tree and in release 0.1.0, in turns."""

from bench.asking import NATIVE, THROUGH, Plan, Running, ask, deployed
from bench.box import Box
from bench.released import VERSION, released
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from bench.scaled import Meter, Used

_WIRES = {"chat completion": THROUGH, "native, two HTTP requests": NATIVE}
_AT_ONCE, _EACH = 8, 25
_MUST, _AIM = 0.5, 0.4


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure the CPU of a request in the worker, in Redis and in the API."""
    async with deployed(box) as running, deployed(box, make=released(box)) as other:
        trees = {"ours": running, VERSION: other}
        used: dict[tuple[str, str], list[Used]] = {
            (wire, tree): [] for wire in _WIRES for tree in trees
        }
        for each_tree in trees.values():
            for way in _WIRES.values():
                await ask(box, each_tree, way, Plan(1), at_once=_AT_ONCE, each=_EACH)
        for _ in range(rounds):
            for (wire, tree), each in used.items():
                each.append(await play(box, trees[tree], _WIRES[wire]))
    spreads = {key: _Spreads(rounds) for key, rounds in used.items()}
    note = (
        f"{_AT_ONCE} callers send {_EACH} requests each, one after the other. The answers have one"
        " token, whose cost is included. The API and the worker share core 0."
    )
    return Report(
        tables=[
            Table(
                ("request", "tree", "worker, us", "Redis, us", "API, us"),
                [
                    [wire, tree, str(one.worker), str(one.redis), str(one.api)]
                    for (wire, tree), one in spreads.items()
                ],
            )
        ],
        bounds=[
            bound
            for wire in _WIRES
            for bound in _bounds(wire, spreads[wire, "ours"], spreads[wire, VERSION])
        ],
        plots=[
            Strip(
                "request",
                "A request of one token: every round",
                "CPU of API and worker, us",
                {
                    f"{tree}, {wire.partition(',')[0]}": [each.api + each.worker for each in rounds]
                    for (wire, tree), rounds in used.items()
                },
            )
        ],
        notes=[note],
    )


class _Spreads:
    """The figures of all rounds, of each process."""

    def __init__(self, rounds: list[Used]) -> None:
        self.worker = Spread(tuple(each.worker for each in rounds))
        self.redis = Spread(tuple(each.redis for each in rounds))
        self.api = Spread(tuple(each.api for each in rounds))


def _bounds(wire: str, mine: _Spreads, old: _Spreads) -> list[Bound]:
    return [
        Bound(f"{wire}: {name}, of {VERSION}'s", ratios(a.values, b.values), _MUST, _AIM)
        for name, a, b in (("worker", mine.worker, old.worker), ("API", mine.api, old.api))
    ]


async def play(box: Box, running: Running, way: str) -> Used:
    """What a request of one token costs, asked for in this way."""
    each = box.some(_EACH)
    meter = Meter(running)
    await ask(box, running, way, Plan(1), at_once=_AT_ONCE, each=each)
    return meter.read(_AT_ONCE * each)
