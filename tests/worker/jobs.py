"""Jobs against a scripted broker, and what they wrote there."""

import asyncio
from typing import Any

import msgspec

from tests.support.script import Cut, Role, Script, Text, Wait
from tests.support.scripted import OfflineUpstream, ScriptedAppender, ScriptedQueue, until
from tickertape.worker.job import Job

HALF: Script = [Role(), Text("half"), Cut()]
FAILING = {"on_interruption": "fail"}


def said(call: dict[str, Any]) -> list[Any]:
    """What a finish wrote: the entries before the terminal, and the terminal's data."""
    return [*map(bytes.decode, call["values"][:-1]), msgspec.json.decode(call["values"][-1][1:])]


def codes(queue: ScriptedQueue) -> list[tuple[str, str]]:
    """State and failure code of each finish, in order."""
    return [(call["state"], said(call)[-1].get("code", "")) for call in queue.all("finish")]


def says_half() -> OfflineUpstream:
    """Says one piece, and then nothing more."""
    return OfflineUpstream([Role(), Text("half"), Wait(asyncio.Event())])


async def run_to_half(job: Job, appender: ScriptedAppender) -> asyncio.Task[None]:
    """The job under way, with its first piece sent and not acknowledged."""
    running = asyncio.create_task(job.run())
    await until(lambda: appender.calls)
    return running
