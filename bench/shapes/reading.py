"""Reading the upstream at the pace of models: this tree, release 0.1.0, and a bare reader."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from bench.asking import Plan, upstream
from bench.box import Box
from bench.report import Bound, Report, Spread, Strip, Table, ratios
from tests.support.releases import extract_release

STREAMS = 60
_PLAN = Plan(300, 50)
_READERS = {"ours": "ours", "0.1.0": "released", "bare": "bare"}


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure CPU per chunk of each reader, in turns."""
    plan = Plan(_PLAN.deltas // 5, _PLAN.rate_per_s) if box.is_quick else _PLAN
    release = extract_release("0.1.0", box.directory)
    costs: dict[str, list[float]] = {label: [] for label in _READERS}
    with upstream(box) as url:
        for _ in range(rounds):
            for label, who in _READERS.items():
                costs[label].append(await _us_per_chunk(box, who, url, plan, release))
    spreads = {label: Spread(tuple(values)) for label, values in costs.items()}
    note = (
        f"{STREAMS} streams of {plan.rate_per_s:g} chunks a second, {plan.deltas} chunks each. The"
        " figures include the cost of the call. `bare` is httptools with the worker's decoder and"
        " chunk reader: it has no limits, no pool of connections, no proxies and no SDK."
    )
    return Report(
        tables=[
            Table(
                ("reader", "CPU per chunk, us", "all rounds"),
                [[label, str(spread), spread.all] for label, spread in spreads.items()],
            )
        ],
        bounds=[
            Bound("CPU per chunk, of 0.1.0's", ratios(costs["ours"], costs["0.1.0"]), 0.4, 0.3),
            Bound("CPU per chunk, of the bare's", ratios(costs["ours"], costs["bare"]), 1.6, 1.2),
        ],
        plots=[
            Strip(
                "reading",
                "Reading 60 streams of 50 chunks a second: every round",
                "CPU per chunk, us",
                {label: spread.values for label, spread in spreads.items()},
            )
        ],
        notes=[note],
    )


async def _us_per_chunk(box: Box, who: str, url: str, plan: Plan, release: Path) -> float:
    with box.on_server_core():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.peers.upstream_reader", who, url, str(STREAMS), str(plan),
            stdout=subprocess.PIPE, env=os.environ | {"RELEASE": str(release)},
        )  # fmt: skip
    said, _ = await process.communicate()
    assert process.returncode == 0, f"the reader {who!r} failed"
    return float(said)
