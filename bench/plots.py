"""Draws the plots of reports as SVG. Only this module needs matplotlib (the `bench` extra)."""

from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bench.report import Plot, Strip, short

# Equal figures make equal files: no date, no random ids, and text as text.
mpl.rcParams.update({"svg.hashsalt": "tickertape", "svg.fonttype": "none", "font.size": 9})
_SIZE_INCHES = (6.4, 3.0)


def draw(plot: Plot | Strip, path: Path) -> None:
    """Write a plot to an SVG file."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(plot.title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    if isinstance(plot, Plot):
        _draw_curves(axes, plot)
    else:
        _draw_strip(axes, plot)
    figure.savefig(path, format="svg", metadata={"Date": None})


def _draw_curves(axes: mpl.axes.Axes, plot: Plot) -> None:
    for name, points in plot.curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, linewidth=1, label=name)
    axes.set(xlabel=plot.x, ylabel=plot.y)
    if plot.is_log_x:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    else:
        axes.set_ylim(bottom=0)
    axes.legend(frameon=False)


def _draw_strip(axes: mpl.axes.Axes, plot: Strip) -> None:
    names = list(plot.values)
    for row, name in enumerate(names):
        values = plot.values[name]
        color = "tab:blue" if name.startswith("ours") else "tab:gray"
        axes.plot(values, [row] * len(values), "o", markersize=4, alpha=0.5, color=color)
        axes.plot([median(values)], [row], "|", markersize=14, color="black")
        axes.annotate(
            short(median(values)), (median(values), row), (0, 9), textcoords="offset points",
            ha="center", fontsize=7,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: short(x)))
    axes.xaxis.set_minor_formatter(FuncFormatter(lambda x, _: ""))
    axes.set_xlabel(plot.y)
