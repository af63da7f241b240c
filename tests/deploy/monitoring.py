"""The alert rules and the dashboard of docs/deploy/monitoring/, and what they name."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.front import FILES, program

FOLDER = FILES / "monitoring"
Board = dict[str, Any]

RUNBOOK = FILES.parent / "runbook.md"
JOBS = {"tickertape-api", "tickertape-worker", "tickertape-deliver"}

_SELECTOR = re.compile(r"\b((?:tickertape|process)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def dashboard() -> Board:
    """The dashboard as Grafana imports it."""
    return dict(json.loads((FOLDER / "dashboard.json").read_text("utf-8")))


def panels() -> list[Board]:
    """The panels of the dashboard that have queries."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def query_of(target: Board, *, interval: str = "1m") -> str:
    """The expression of a panel's query as Grafana sends it."""
    return str(target["expr"]).replace("$__rate_interval", interval)


def expressions() -> dict[str, str]:
    """Every expression, by the alert or the panel that has it."""
    of_panels = {
        f"{panel['title']} {target['refId']}": query_of(target)
        for panel in panels()
        for target in panel["targets"]
    }
    return {name: rule["expr"] for name, rule in rules().items()} | of_panels


def selected(expr: str) -> list[tuple[str, dict[str, list[str]]]]:
    """The metrics that an expression names, each with the values that it names for a label."""
    return [
        (name, {label: value.split("|") for label, _, value in _MATCHER.findall(matchers)})
        for name, matchers in _SELECTOR.findall(expr)
    ]


def promtool(*arguments: str | Path) -> str:
    """What promtool prints; fails the test if promtool finds a fault."""
    done = subprocess.run(
        [program("promtool"), *arguments], check=False, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
