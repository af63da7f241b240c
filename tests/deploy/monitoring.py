"""The alert rules of docs/deploy/monitoring/, and what they name."""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.front import FILES, program

FOLDER = FILES / "monitoring"
RUNBOOK = FILES.parent / "runbook.md"
JOBS = {"tickertape-api", "tickertape-worker"}

_SELECTOR = re.compile(r"\b((?:tickertape|process)_\w+|up|ALERTS)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def rules() -> dict[str, dict[str, Any]]:
    """The alert rules by name."""
    (group,) = yaml.safe_load((FOLDER / "alerts.yml").read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def expressions() -> dict[str, str]:
    """Every expression, by the alert that has it."""
    return {name: rule["expr"] for name, rule in rules().items()}


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
