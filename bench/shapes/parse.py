"""Reading the upstream: 32 streams on one core, by the worker's hot path and by the SDK."""

import asyncio
import subprocess
import sys

from bench.asking import Plan, upstream
from bench.box import Box
from bench.report import Bound, Report, Spread, Strip, Table, ratios

STREAMS = 32
_DELTAS = {"ours": 3000, "stock": 300}
# Slow enough that both readers read each chunk separately.
_PACED_PER_S, _PACED_DELTAS = 60, 90


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU per chunk of both, at full speed and paced."""
    plans = {
        f"{who}, {name}": (who, plan)
        for name, plans in _plans(box).items()
        for who, plan in plans.items()
    }
    costs: dict[str, list[float]] = {label: [] for label in plans}
    with upstream(box) as url:
        for _ in range(rounds):
            for label, (who, plan) in plans.items():
                costs[label].append(await _us_per_chunk(box, who, url, plan))
    spreads = {label: Spread(tuple(values)) for label, values in costs.items()}
    note = (
        f"Chunks have 340 bytes and are sent as fast as they are read. `paced` sends {_PACED_PER_S}"
        " a second in each stream, so that every chunk costs a turn of the event loop. The figures"
        f" include the cost of the call, spread over {_DELTAS['ours']:,} chunks for Tickertape"
        f" and {_DELTAS['stock']} for the SDK."
    )
    return Report(
        tables=[
            Table(
                ("client, chunks per segment", "CPU per chunk, us", "all rounds"),
                [[label, str(spread), spread.all] for label, spread in spreads.items()],
            )
        ],
        bounds=[
            bound
            for name in ("1", "8")
            for bound in (
                Bound(
                    f"CPU per chunk, {name} per segment", spreads[f"ours, {name}"], 10, unit="us"
                ),
                Bound(
                    f"the SDK's CPU, of Tickertape's, {name} per segment",
                    ratios(costs[f"stock, {name}"], costs[f"ours, {name}"]),
                    8,
                    at_least=True,
                ),
            )
        ],
        plots=[
            Strip(
                "parse",
                "Reading 32 streams: every round",
                "CPU per chunk, us",
                {label: spread.values for label, spread in spreads.items()},
            )
        ],
        notes=[note],
    )


def _plans(box: Box) -> dict[str, dict[str, Plan]]:
    flat = {
        str(per_segment): {
            who: Plan(deltas // (4 if box.is_quick else 1), 0, per_segment)
            for who, deltas in _DELTAS.items()
        }
        for per_segment in (1, 8)
    }
    paced = Plan(_PACED_DELTAS // (3 if box.is_quick else 1), _PACED_PER_S)
    return {**flat, "paced": dict.fromkeys(_DELTAS, paced)}


async def _us_per_chunk(box: Box, who: str, url: str, plan: Plan) -> float:
    with box.on_server_core():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.peers.upstream_reader", who, url, str(STREAMS), str(plan),
            stdout=subprocess.PIPE,
        )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, f"the reader {who!r} failed"
    return float(said)
