"""The process of a browser, which ends with all its helpers."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def running_browser(argv: Sequence[str]) -> Iterator[None]:
    """Run a browser silently until the end of the block, and kill it with all its helpers."""
    process = subprocess.Popen(
        argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield
    finally:
        # The helpers are in the session of the browser and end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
