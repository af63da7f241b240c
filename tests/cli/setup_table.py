"""The table of wrong set-ups in docs/doctor.md."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tickertape.cli.checks.cases import CASES

PAGE = Path("docs/doctor.md")
_BEGIN, _END = "<!-- the table: make doctor-table -->\n", "<!-- end of the table -->\n"
_HEAD = "| set-up | exit | a start | doctor prints | fix |\n|---|---|---|---|---|\n"
# The upstream, the other processes and the version of Python are not looked at.
_NOT_AT_START = frozenset(
    {
        "redis-no-worker",
        "redis-newer",
        "history-away",
        "history-newer",
        "history-tables",
        "webhooks-name",
        "webhooks-private",
        *(name for name in CASES if name.startswith("upstream-")),
    }
)
# What differs between two runs.
_VARIES = (
    (re.compile(r"(127\.0\.0\.1|0\.0\.0\.0|localhost)(:| port )\d+"), r"\1\2PORT"),
    (re.compile(r"--port \d+"), "--port PORT"),
    (re.compile(r"_PORT is \d+"), "_PORT is PORT"),
    (re.compile(r"full: \d+ of"), "full: 5 of"),
    (re.compile(r"and \d+ are in use"), "and 3 are in use"),
    (re.compile(r"/tmp/\S+/keys.txt"), "FOLDER/keys.txt"),
)


def row(name: str, code: int, finding: dict[str, Any]) -> str:
    """A line of the table."""
    cells = [name, str(code), _start(finding), _same(finding["text"]), _same(finding["fix"])]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _start(finding: dict[str, Any]) -> str:
    if finding["ends_start"]:
        return "ends"
    if finding["case"] in _NOT_AT_START:
        return "-"
    is_mendable = finding["level"] == "fail" and finding["case"] != "redis-eviction"
    return "waits" if is_mendable else "logs it"


def _same(text: str) -> str:
    for pattern, instead in _VARIES:
        text = pattern.sub(instead, text)
    return text.replace("<", "&lt;").replace("*", "\\*")


def documented_rows() -> set[str]:
    """The lines of the table in the document."""
    table = PAGE.read_text("utf-8").partition(_BEGIN)[2].partition(_END)[0]
    return set(table.removeprefix(_HEAD).splitlines(keepends=True))


def write_table(rows: Sequence[tuple[str, int, dict[str, Any]]], *, is_written: bool) -> None:
    """Print the table, and put it into the document if `is_written`."""
    table = _HEAD + "".join(row(*each) for each in rows)
    print(table)
    if is_written:
        before, _, rest = PAGE.read_text("utf-8").partition(_BEGIN)
        after = rest.partition(_END)[2]
        PAGE.write_text(before + _BEGIN + table + _END + after, "utf-8")
