"""On a busy machine, an API process comes before the workers in every kind of deployment."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "docs" / "deploy"


def first(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text, re.MULTILINE)
    return found[1] if found else None


def test_an_api_process_has_twice_the_weight_of_a_worker() -> None:
    units = [(DEPLOY / f"tickertape-{name}@.service").read_text() for name in ("api", "worker")]
    assert [first(r"^CPUWeight=(.*)$", unit) for unit in units] == ["200", None]  # 100 if unset
    compose = (ROOT / "docker-compose.yml").read_text()
    assert re.findall(r"^  (\w+):\n(?:    .*\n)*?    cpu_shares: 2048$", compose, re.MULTILINE) == [
        "api"  # 1024 if unset
    ]
    assert compose.count("cpu_shares") == 1
    pods = [(DEPLOY / "kubernetes" / f"{name}.yaml").read_text() for name in ("api", "worker")]
    requested = [first(r"requests: \{cpu: \"?(\w+)", pod) for pod in pods]
    assert requested == ["1", "500m"]
