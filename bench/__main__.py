"""`python -m bench [--quick]`: measures, and writes docs/performance.md."""

import argparse
import asyncio
import platform
from pathlib import Path

from bench import hop

_REPORT = Path(__file__).parent.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- measured -->", "<!-- /measured -->"


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="one round of everything")
    quick = arguments.parse_args().quick
    table = asyncio.run(hop.measure(rounds=1 if quick else 5))
    measured = f"{_BEGIN}\n\nMachine: {machine()}.\n\n{table}\n\n{_END}"
    print(measured)
    text = _REPORT.read_text("utf-8")
    before, rest = text.split(_BEGIN, 1)
    _REPORT.write_text(before + measured + rest.split(_END, 1)[1], "utf-8")


def machine() -> str:
    """What it was measured on."""
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        if line.startswith("model name")
    ]
    python = platform.python_version()
    return f"{len(models)} x {models[0]}, {platform.system()} {platform.release()}, Python {python}"


if __name__ == "__main__":
    main()
