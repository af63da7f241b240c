"""Pure: draws the panels of the dashboard as HTML, from what Prometheus answered to their queries.

Grafana itself is not needed to see what the dashboard shows. Only what this dashboard uses is
drawn: panels of one number, lines over time, and rows.
"""

import html
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Board = dict[str, Any]
Samples = list[dict[str, Any]]

COLUMN_PX, UNIT_PX, GAP_PX = 58, 32, 6
# The title above a graph, and the legend below it.
_AROUND_PX = 46
_COLOURS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#ffa6b0"]
_NAMED = {"green": "#2f8f4e", "orange": "#c9690f", "red": "#c4162a", "blue": "#1f60c4"}
_STYLE = f"""
body {{ margin: 0; background: #111217; color: #ccccdc; font: 12px/16px sans-serif;
  position: relative; width: {24 * COLUMN_PX}px }}
section {{ position: absolute; box-sizing: border-box; background: #181b1f; overflow: hidden;
  border: 1px solid #25272c; border-radius: 3px; padding: 4px 8px }}
section.row {{ background: none; border: 0; font-weight: bold }}
h3 {{ font-size: 12px; margin: 0; font-weight: 500; white-space: nowrap }}
b {{ position: absolute; inset: 24px 0 0; display: flex; flex-direction: column; color: #fff;
  align-items: center; justify-content: center; text-align: center }}
svg {{ display: block }} text {{ fill: #8e8e9c; font-size: 10px }}
p {{ margin: 0; white-space: nowrap; font-size: 11px }}
i {{ display: inline-block; width: 10px; height: 3px; margin: 3px 4px 3px 8px }}
"""


@dataclass(frozen=True)
class Answered:
    """What Prometheus answered to the queries of one panel, in their order."""

    panel: Board
    samples: Sequence[Samples]


def document(rows: Sequence[Board], answered: Sequence[Answered], *, height: int) -> str:
    """A page of `height` pixels with all panels at their places."""
    drawn = [_section(row, html.escape(row["title"]), kind="row") for row in rows]
    for each in answered:
        title = f"<h3>{html.escape(each.panel['title'])}</h3>"
        if each.panel["type"] == "stat":
            text, colour = _stat(each)
            size = 15 if "\n" in text or len(text) > 14 else 28
            lines = "".join(f"<span>{html.escape(line)}</span>" for line in text.split("\n"))
            body = f'<b style="font-size:{size}px;line-height:1.25">{lines}</b>'
            drawn.append(_section(each.panel, title + body, colour=colour))
        else:
            drawn.append(_section(each.panel, title + _graph(each)))
    style = f"{_STYLE} body {{ height: {height}px }}"
    return f'<!doctype html><meta charset="utf-8"><style>{style}</style>{"".join(drawn)}'


def _section(panel: Board, content: str, *, kind: str = "", colour: str = "") -> str:
    at = panel["gridPos"]
    style = (
        f"left:{at['x'] * COLUMN_PX + GAP_PX / 2}px;top:{at['y'] * UNIT_PX + GAP_PX / 2}px;"
        f"width:{at['w'] * COLUMN_PX - GAP_PX}px;height:{at['h'] * UNIT_PX - GAP_PX}px"
    )
    background = f";background:{colour}" if colour else ""
    return f'<section class="{kind}" style="{style}{background}">{content}</section>'


def _stat(answered: Answered) -> tuple[str, str]:
    """The words and the background of a panel of one number."""
    defaults = answered.panel["fieldConfig"]["defaults"]
    steps = defaults["thresholds"]["steps"]
    samples = answered.samples[0]
    if not samples or math.isnan(number := float(samples[0]["value"][1])):
        return defaults["noValue"], ""
    passed = [step["color"] for step in steps if step["value"] is None or step["value"] <= number]
    colour = _NAMED[passed[-1]]
    if answered.panel["options"]["textMode"] == "name":
        legend = answered.panel["targets"][0]["legendFormat"]
        return "\n".join(_named(legend, sample["metric"]) for sample in samples), colour
    for mapping in defaults["mappings"]:
        options = mapping["options"]
        if mapping["type"] == "value" and f"{number:g}" in options:
            return options[f"{number:g}"]["text"], _NAMED[options[f"{number:g}"]["color"]]
        if mapping["type"] == "range" and options["from"] <= number <= options["to"]:
            return options["result"]["text"], _NAMED[options["result"]["color"]]
    return formatted(number, defaults["unit"]), colour


def _graph(answered: Answered) -> str:
    """Lines over time with their legend."""
    panel = answered.panel
    width = panel["gridPos"]["w"] * COLUMN_PX - 2 * GAP_PX - 12
    height = panel["gridPos"]["h"] * UNIT_PX - GAP_PX - _AROUND_PX
    unit = panel["fieldConfig"]["defaults"]["unit"]
    stacks = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal"
    lines = [
        (_named(target["legendFormat"], series["metric"]), _points(series))
        for target, found in zip(panel["targets"], answered.samples, strict=True)
        for series in found
    ]
    # A legend with lines that stay at 0 says nothing.
    lines = [line for line in lines if any(line[1].values())][: len(_COLOURS)]
    if stacks:
        lines = _stacked(lines)
    times = sorted({at for _, points in lines for at in points})
    if len(times) < 2:
        return f'<svg width="{width}" height="{height}"><text x="40%" y="50%">0</text></svg>'
    most = max(value for _, points in lines for value in points.values()) or 1.0
    left, bottom = 46, height - 14

    def place(at: float, value: float) -> str:
        across = left + (at - times[0]) / (times[-1] - times[0]) * (width - left)
        return f"{across:.1f},{bottom - value / most * (bottom - 8):.1f}"

    drawn = [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="'
        + " ".join(place(at, value) for at, value in sorted(points.items()))
        + '"/>'
        for (_, points), colour in zip(lines, _COLOURS, strict=False)
    ]
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * (bottom - 8)
        drawn.append(f'<line x1="{left}" x2="{width}" y1="{y}" y2="{y}" stroke="#2c2e33"/>')
        drawn.append(f'<text x="0" y="{y + 3}">{formatted(share * most, unit)}</text>')
    for at, anchor in ((times[0], "start"), (times[-1], "end")):
        clock = time.strftime("%H:%M:%S", time.gmtime(at))
        x = left if anchor == "start" else width
        drawn.append(f'<text x="{x}" y="{height - 2}" text-anchor="{anchor}">{clock}</text>')
    legend = "".join(
        f'<i style="background:{colour}"></i>{html.escape(name)}'
        for (name, _), colour in zip(lines, _COLOURS, strict=False)
    )
    return f'<svg width="{width}" height="{height}">{"".join(drawn)}</svg><p>{legend}</p>'


def _points(series: Mapping[str, Any]) -> dict[float, float]:
    values = {float(at): float(value) for at, value in series["values"]}
    return {at: value for at, value in values.items() if math.isfinite(value)}


def _stacked(lines: list[tuple[str, dict[float, float]]]) -> list[tuple[str, dict[float, float]]]:
    sums: dict[float, float] = {}
    stacked = []
    for name, points in lines:
        sums = {at: sums.get(at, 0.0) + points.get(at, 0.0) for at in {*sums, *points}}
        stacked.append((name, dict(sums)))
    return stacked


def _named(legend: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


def formatted(number: float, unit: str) -> str:
    """A number as people read it, with its unit."""
    match unit:
        case "s" if 0 < number < 1:
            return f"{number * 1000:.3g} ms"
        case "s":
            return f"{number:.3g} s"
        case "percentunit":
            return f"{number:.1%}"
        case "bytes":
            size = min(3, int(math.log(number, 1024))) if number >= 1 else 0
            return f"{number / 1024**size:.3g} {('B', 'KiB', 'MiB', 'GiB')[size]}"
        case "reqps" | "ops":
            return f"{number:.3g} /s"
    return f"{number / 1000:.3g} K" if number >= 10_000 else f"{number:.4g}"
