"""Pure: the findings of a run as lines for people, and as JSON."""

from typing import Any

from tickertape.cli.bench.findings import FAULTS, Findings, shares
from tickertape.cli.chat.text import harmless

_BUSY = 0.7


def lines(findings: Findings, wall_s: float, cpu_s: float) -> list[str]:
    """The findings for people. `cpu_s` is the CPU time of the readers, which limits them."""
    whole = f"{findings.completed} of which read the whole answer"
    shown = [
        f"{findings.streams} answers, {findings.readers} readers, {whole}",
        f"{findings.events:,} deltas in {wall_s:.1f} s, {findings.events / wall_s:,.0f} a second",
        "",
        f"{'ms':24}" + "".join(f"{name:>10}" for name in ("p50", "p90", "p99", "max")),
    ]
    for name, values in findings.times.items():
        shown.append(f"{name:24}" + "".join(f"{each:10,.1f}" for each in shares(values).values()))
    shown += ["", f"The readers used {cpu_s / wall_s:.0%} of a core."]
    if cpu_s / wall_s > _BUSY:
        shown.append(
            "That is nearly all of it, so these times have their own waits: use less load."
        )
    if findings.restarts:
        shown.append(f"Answers started over for readers: {findings.restarts}")
    shown += [f"ERROR  {count} x {harmless(text)}" for text, count in findings.errors.items()]
    shown += [f"FAULT  {count} x {name}: {FAULTS[name]}" for name, count in findings.faults.items()]
    if findings.is_clean:
        shown.append("No gap, and all readers of an answer have the same text.")
    return shown


def as_json(findings: Findings, wall_s: float, cpu_s: float) -> dict[str, Any]:
    """The findings for programs; times are in ms."""
    return {
        "streams": findings.streams,
        "readers": findings.readers,
        "completed": findings.completed,
        "deltas": findings.events,
        "restarts": findings.restarts,
        "wall_s": wall_s,
        "readers_cpu_s": cpu_s,
        "faults": dict.fromkeys(FAULTS, 0) | findings.faults,
        "errors": findings.errors,
        "ms": {
            name.replace(" ", "_"): {"count": len(values), **shares(values)}
            for name, values in findings.times.items()
        },
    }
