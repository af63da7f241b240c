"""The wrong set-ups that `doctor` knows.

`python -m tests.cli.wrong_setups` prints the table of docs/doctor.md; `--write` writes it there.
"""

import asyncio
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.cli.setup_stage import examined, problems
from tests.cli.setup_table import write_table
from tests.cli.wrong_others import OTHERS
from tests.cli.wrong_redis import OF_REDIS
from tests.support.servers import valkey_server

SETUPS = (*OF_REDIS, *OTHERS)


def _rows() -> list[tuple[str, int, dict[str, Any]]]:
    rows = []
    with valkey_server(append_only=True) as good:
        for wrong in SETUPS:
            with tempfile.TemporaryDirectory() as folder:
                code, report = asyncio.run(examined(wrong, Path(folder), good.url))
            (found,) = problems(report)
            shown = {
                name: re.sub(re.escape(folder), "FOLDER", str(found[name]))
                for name in ("text", "fix")
            }
            rows.append((wrong.name, code, {**found, **shown}))
    return rows


if __name__ == "__main__":
    write_table(_rows(), is_written="--write" in sys.argv)
