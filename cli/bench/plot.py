"""Draws the times of a run. Needs matplotlib."""

from pathlib import Path

from matplotlib.figure import Figure

from tickertape.cli.bench.findings import Findings

_POINTS = 1000


def draw(findings: Findings, path: Path) -> None:
    """Write a picture: for each time, the share of values that are not longer.

    Raises ValueError for an unknown kind of file, and OSError.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for name, values in findings.times.items():
        ordered = sorted(values)
        step = max(1, len(ordered) // _POINTS)
        points = [*range(0, len(ordered), step), len(ordered) - 1]
        axes.plot(
            [max(ordered[n], 0.001) for n in points],
            [100 * (n + 1) / len(ordered) for n in points],
            linewidth=1,
            label=name,
        )
    axes.set(xscale="log", xlabel="ms", ylabel="% of values", ylim=(0, 100))
    axes.set_title(f"{findings.streams} answers, {findings.readers} readers", fontsize=10)
    axes.legend(frameon=False)
    figure.savefig(path)
