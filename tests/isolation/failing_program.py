"""A program of Tickertape that logs all it can, and fails where a prompt asks for that.

`python -m tests.isolation.failing_program api --port=0`. Each failure has the prompt, and the
settings, in the text of its exception, as a defect might.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from typing import Any

from tickertape.cli.main import main

ROUTE, TASK, THREAD, JOB, PROCESS = (
    f"fail in the {place}" for place in ("route", "task", "thread", "job", "process")
)
LEAK = "log this prompt"


class Planted(Exception):
    """A defect whose text quotes everything."""

    def __init__(self, prompt: object) -> None:
        super().__init__(f"{prompt} {dict(os.environ)}")


def fail_in_api() -> None:
    """Let submits fail in the way that their prompt names."""
    from tickertape.api import services  # a worker has no use for it

    whole = services.Services.submit

    async def submit(self: Any, ask: Any, **options: Any) -> Any:
        prompt = str(ask.messages)
        if ROUTE in prompt:
            raise Planted(prompt)
        if TASK in prompt:
            _forgotten.add(asyncio.create_task(_fail(prompt), name=f"for {ask.wire}"))
            _forgotten.clear()
        if THREAD in prompt:
            threading.Thread(target=_fail_at_once, args=[prompt]).start()
        if PROCESS in prompt:
            _last_words.append(prompt)
            os.kill(os.getpid(), signal.SIGTERM)
        if LEAK in prompt:
            logging.getLogger("planted").error("the prompt is %s", prompt)
        return await whole(self, ask, **options)

    services.Services.submit = submit  # type: ignore[method-assign]  # the defect


def fail_in_worker() -> None:
    """Let jobs fail whose prompt says so."""
    from tickertape.worker import job  # an API has no use for it

    whole = job.Job.run

    async def run(self: Any) -> Any:
        prompt = str(self.lease.payload)
        if JOB in prompt:
            raise Planted(prompt)
        return await whole(self)

    job.Job.run = run  # type: ignore[method-assign]  # the defect


_last_words: list[str] = []
_forgotten: set[asyncio.Task[None]] = set()


async def _fail(prompt: str) -> None:
    raise Planted(prompt)


def _fail_at_once(prompt: str) -> None:
    raise Planted(prompt)


if __name__ == "__main__":
    {"api": fail_in_api, "worker": fail_in_worker}[sys.argv[1]]()
    code = main()
    if _last_words:
        raise Planted(_last_words)
    sys.exit(code)
