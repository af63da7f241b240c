"""Sees what a function does to others in its process: a blocked event loop, and tasks left behind.

Both are named in the log, and nothing is ended: only the author of the function can mend them. A
task of a function that exits ends neither: the function gets an exception in place of the exit.
"""

import asyncio
import sys
import threading
import time
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from types import FrameType
from typing import Any
from weakref import WeakSet

import structlog

from tickertape.worker.functions.errors import TaskExited

log = structlog.get_logger()

# Long before a lease of the default length runs out, and longer than a slow turn of the loop.
_LIMIT_S = 1.0
_LOOKS_PER_LIMIT = 4
_FRAMES = 3
_PREFIX = "function "

_tasks: ContextVar["WeakSet[asyncio.Task[Any]] | None"] = ContextVar("_tasks", default=None)


def name_of(function: str) -> str:
    """The name of the task that runs a function, by which the guard knows the function."""
    return f"{_PREFIX}{function}"


class TaskCount:
    """The tasks that the current task begins, and those that these begin."""

    def __init__(self) -> None:
        self._own: WeakSet[asyncio.Task[Any]] = WeakSet()
        _tasks.set(self._own)

    def left(self) -> list[str]:
        """What the tasks run that are not done; empty without a Guard."""
        return sorted({_code_of(task) for task in self._own if not task.done()})


class Guard:
    """Watches the event loop while `run` runs. A loop that is blocked for `limit_s` is logged."""

    def __init__(self, limit_s: float = _LIMIT_S) -> None:
        self._limit_s = limit_s
        self._beat_s = 0.0
        self._is_over = threading.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        self._beat_s = time.monotonic()
        watching = threading.Thread(
            target=self._watch, args=(loop, threading.get_ident()), name="guard", daemon=True
        )
        former = loop.get_task_factory()
        loop.set_task_factory(_counted)  # type: ignore[arg-type]  # a Protocol of typeshed only
        watching.start()
        try:
            while True:
                await asyncio.sleep(self._limit_s / _LOOKS_PER_LIMIT)
                self._beat_s = time.monotonic()
        finally:
            self._is_over.set()
            if loop.get_task_factory() is _counted:
                loop.set_task_factory(former)

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        logged_s = 0.0
        while not self._is_over.wait(self._limit_s / _LOOKS_PER_LIMIT):
            beat_s = self._beat_s
            blocked_s = time.monotonic() - beat_s
            if blocked_s < self._limit_s or beat_s == logged_s:
                continue
            task, frame = asyncio.current_task(loop), sys._current_frames().get(thread_id)  # noqa: SLF001
            if task is None or frame is None or not task.get_name().startswith(_PREFIX):
                continue
            logged_s = beat_s
            log.error(
                "function blocks the event loop",
                function=task.get_name().removeprefix(_PREFIX),
                blocked_s=round(blocked_s, 1),
                at=_places(frame),
                do="await what waits, and use asyncio.to_thread for code that blocks",
            )


def _counted(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **options: Any
) -> asyncio.Task[Any]:
    own = _tasks.get()
    task = asyncio.Task(coro if own is None else _Contained(coro), loop=loop, **options)
    if own is not None:
        own.add(task)
    return task


class _Contained(Coroutine[Any, Any, Any]):
    """A coroutine whose exit is an exception. In a task, SystemExit would end the event loop.

    No `async def`, because a task that is cancelled before it begins would never await the inner
    coroutine, and Python would warn of that.
    """

    def __init__(self, coro: Coroutine[Any, Any, Any]) -> None:
        self._coro = coro

    def __getattr__(self, name: str) -> Any:
        """What libraries ask of a coroutine, as anyio does when it cancels a task."""
        return getattr(self._coro, name)

    def send(self, value: Any) -> Any:
        """Go on."""
        try:
            return self._coro.send(value)
        except (SystemExit, KeyboardInterrupt) as error:
            raise TaskExited(type(error).__name__) from error

    def throw(self, *error: Any) -> Any:
        """Go on with an error."""
        try:
            return self._coro.throw(*error)
        except (SystemExit, KeyboardInterrupt) as found:
            raise TaskExited(type(found).__name__) from found

    def close(self) -> None:
        """End."""
        self._coro.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield from self._coro.__await__())


def _code_of(task: asyncio.Task[Any]) -> str:
    coro = task.get_coro()
    return getattr(coro, "__qualname__", type(coro).__name__)


def _places(frame: FrameType | None) -> list[str]:
    """The innermost places of a stack, the innermost first."""
    places: list[str] = []
    while frame is not None and len(places) < _FRAMES:
        places.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return places
