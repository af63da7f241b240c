"""Pure: the tables of docs/scaling.md, computed by the model."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from bench.capacity import costs, limits
from bench.capacity.demand import Load
from bench.capacity.plan import ONE_SYSTEM, TERMS, Plan, Terms, plan
from bench.report import Table, short

WHOLE = Load(watchers=1_000_000, generations=100_000)
DECADES = (1_000, 10_000, 100_000, 1_000_000)


def turns() -> Table:
    """What each process pays for a turn, and for what is in it."""
    rows = [
        [
            name,
            short(each.turn_us),
            short(each.message_us),
            short(each.token_us),
            _writes(each.write_us),
        ]
        for name, each in (("worker", costs.WORKER), ("Redis", costs.REDIS), ("API", costs.API))
    ]
    return Table(("CPU, us", "turn", "message", "token in it", "each further reader"), rows)


def fit() -> Table:
    """The measured rows to which the costs of turns are fitted."""
    rows = [
        [
            f"{row.process}: {row.what}",
            f"{row.per_s:,.0f}",
            short(row.measured_us),
            short(row.modelled_us),
            f"{row.deviation:.2f}",
        ]
        for row in costs.ROWS
    ]
    return Table(
        ("measured row", "messages/s", "measured, us", "model, us", "model / measured"), rows
    )


def units() -> Table:
    """All other costs."""
    rows = [[each.what, f"{short(each.value)} {each.unit}", each.source] for each in costs.UNITS]
    return Table(("what", "cost", "source"), rows)


def decades() -> Table:
    """The plan for each number of watchers."""
    plans = [plan(WHOLE.grown(watchers / WHOLE.watchers)) for watchers in DECADES]
    columns = ("watchers", *(f"{each.load.watchers:,.0f}" for each in plans))
    return Table(columns, _rows(plans))


def whole() -> Table:
    """The plan for a million watchers, and what it would be without each of its two decisions."""
    plans = {
        "a system": plan(WHOLE.grown(1 / plan(WHOLE).systems)),
        "all systems": plan(WHOLE),
        "without routing": plan(replace(WHOLE, is_routed=False)),
        "in one system": plan(WHOLE, ONE_SYSTEM),
    }
    return Table(("", *plans), _rows(list(plans.values())))


def variants() -> Table:
    """What another load changes in the plan for a million watchers."""
    cheap = replace(TERMS, egress_usd_per_gb=0.01)
    variants: dict[str, tuple[Load, Terms]] = {
        "the plan": (WHOLE, TERMS),
        "5 deltas/s, each with four tokens": (
            replace(WHOLE, tokens_per_s=5, tokens_per_answer=125, token_bytes=20),
            TERMS,
        ),
        "50 tokens/s": (replace(WHOLE, tokens_per_s=50), TERMS),
        "1 reader of each answer (100,000 watchers)": (replace(WHOLE, watchers=100_000), TERMS),
        "100 readers of each answer (10,000 generations)": (
            replace(WHOLE, generations=10_000),
            TERMS,
        ),
        "answers kept for a day": (replace(WHOLE, retention_s=86_400), TERMS),
        "watchers reconnect every 30 s": (replace(WHOLE, reconnect_every_s=30), TERMS),
        "processes busy for 40 %": (WHOLE, replace(TERMS, busy=0.4)),
        "egress at 0.01 $/GB": (WHOLE, cheap),
    }
    rows = []
    for name, (load, terms) in variants.items():
        each = plan(load, terms)
        rows.append(
            [
                name,
                *(f"{count:,}" for count in each.cores_by_process.values()),
                f"{each.machines:,}",
                short(each.redis_gb),
                short(each.egress_gbit),
                f"{each.machines_usd:,.0f}",
                f"{each.egress_usd:,.0f}",
            ]
        )
    return Table(
        (
            "load", "workers", "API", "masters", "machines", "Redis, GB", "egress, Gbit/s",
            "machines, $", "egress, $",
        ),
        rows,
    )  # fmt: skip


def breaks() -> Table:
    """What breaks first."""
    rows = [
        [_rounded(watchers), limit.name, limit.change] for watchers, limit in limits.by_order(WHOLE)
    ]
    return Table(("watchers", "what is reached", "what is then changed"), rows)


def assumptions() -> Table:
    """The load and the terms of the plan."""
    rows = [
        ["watchers, each of one answer", f"{WHOLE.watchers:,.0f}"],
        ["generations at the same time", f"{WHOLE.generations:,.0f}"],
        ["tokens a second of a generation", short(WHOLE.tokens_per_s)],
        ["tokens of an answer", f"{WHOLE.tokens_per_answer:,.0f}"],
        ["a watcher connects again every", f"{WHOLE.reconnect_every_s:,.0f} s"],
        ["`TICKERTAPE_RETENTION_S`", f"{WHOLE.retention_s:,.0f} s"],
        ["a process is busy at the peak for", f"{100 * TERMS.busy:.0f} % of the time"],
        ["a machine: cores, memory, network",
         f"{TERMS.cores}, {TERMS.machine_gb:.0f} GB, {TERMS.network_gbit:.0f} Gbit/s"],
        ["Redis servers on a machine", f"{TERMS.redis_per_machine}"],
        ["replicas of a master", f"{TERMS.replicas}"],
        ["memory of Redis that data may fill", f"{100 * TERMS.memory_share:.0f} %"],
        ["watchers and generations of a system, at most",
         f"{TERMS.watchers_of_a_system:,.0f} and {TERMS.generations_of_a_system:,.0f}"],
        ["price of a machine, a month", f"{TERMS.machine_usd:,.0f} $"],
        ["price of egress", f"{TERMS.egress_usd_per_gb} $/GB"],
        ["mean load, of the peak's", f"{100 * TERMS.mean_of_peak:.0f} %"],
    ]  # fmt: skip
    return Table(("assumption", "value"), rows)


SECTIONS: dict[str, Callable[[], Table]] = {
    "turns": turns,
    "fit": fit,
    "units": units,
    "assumptions": assumptions,
    "decades": decades,
    "breaks": breaks,
    "whole": whole,
    "variants": variants,
}


def _rows(plans: Sequence[Plan]) -> list[list[str]]:
    rows: dict[str, Callable[[Plan], str]] = {
        "generations": lambda each: f"{each.load.generations:,.0f}",
        "tokens written / delivered a second": lambda each: (
            f"{each.load.tokens:,.0f} / {each.load.tokens * each.load.readers:,.0f}"
        ),
        "systems": lambda each: f"{each.systems:,}",
        "workers": lambda each: f"{each.workers:,}",
        "API processes": lambda each: f"{each.apis:,}",
        "masters, each with a replica": lambda each: f"{each.masters:,}",
        "partitions of a system": lambda each: f"{each.partitions:,}",
        "readers of an answer at one API process": lambda each: short(each.readers_of_a_process),
        "memory of workers / API / Redis' data, GB": lambda each: (
            f"{short(each.worker_gb)} / {short(each.api_gb)} / {short(each.redis_gb)}"
        ),
        "network to watchers / inside, Gbit/s": lambda each: (
            f"{short(each.egress_gbit)} / {short(each.inside_gbit)}"
        ),
        "machines for workers / API / Redis": lambda each: (
            f"{each.worker_machines} / {each.api_machines} / {each.redis_machines}"
        ),
        "machines, $ a month": lambda each: f"{each.machines_usd:,.0f}",
        "egress, $ a month": lambda each: f"{each.egress_usd:,.0f}",
        "$ for a million tokens": lambda each: f"{each.usd_per_million_tokens:.3f}",
    }
    return [[name, *(show(each) for each in plans)] for name, show in rows.items()]


def _writes(write_us: float) -> str:
    return short(write_us) if write_us else ""


def _rounded(watchers: float) -> str:
    """Two digits, because more would say more than the model knows."""
    return f"{float(f'{watchers:.1e}'):,.0f}"
