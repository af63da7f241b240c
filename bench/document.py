"""Writes reports into docs/performance.md, each between the two marks of its shape."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from bench.box import machine
from bench.report import Report

DOCUMENT = Path(__file__).parent.parent / "docs" / "performance.md"
PLOTS = DOCUMENT.with_suffix("")


def write(reports: Mapping[str, Report], document: Path = DOCUMENT) -> None:
    """Replace the sections and plots of these shapes, and nothing else.

    Raises ValueError if the document does not have the marks of a shape exactly once.
    """
    from bench.plots import draw

    folder = document.with_suffix("")
    text = document.read_text("utf-8")
    for name, report in reports.items():
        folder.mkdir(exist_ok=True)
        for plot in report.plots:
            draw(plot, folder / f"{plot.name}.svg")
        text = placed(text, name, _section(report, folder.name))
        if report.headline:
            text = placed(text, name, report.headline, kind="headline")
    document.write_text(text, "utf-8")


def placed(text: str, name: str, section: str, *, kind: str = "measured") -> str:
    """Pure: the text with `section` between the marks of `name`. Raises ValueError without them."""
    begin, end = f"<!-- {kind}: {name} -->", f"<!-- /{kind}: {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the document has no place for {name}: {begin} ... {end}")
    before, rest = text.split(begin)
    return f"{before}{begin}\n\n{section}\n\n{end}{rest.split(end)[1]}"


def _section(report: Report, folder: str) -> str:
    pictures = [f"![{plot.title}]({folder}/{plot.name}.svg)" for plot in report.plots]
    when = f"Measured on {datetime.now(UTC):%Y-%m-%d}, {machine()}."
    return "\n\n".join([str(report), *pictures, when])
