"""Runs a function for one attempt, with a limit on each silence and on the whole.

The function runs in a task of its own. So what it does with a cancellation, and whatever it raises,
stays there: the attempt ends in time, even if the function does not.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Self

import structlog

from tickertape.broker.errors import TooLong
from tickertape.worker.failures import Failure, FailureCode, SourceFailed
from tickertape.worker.functions.context import Context
from tickertape.worker.functions.definition import Function
from tickertape.worker.functions.errors import CheckpointTooLate, WrongCheckpoint, WrongValue
from tickertape.worker.functions.guard import TaskCount, name_of
from tickertape.worker.functions.marking import Marking
from tickertape.worker.functions.pieces import PieceMaker
from tickertape.worker.functions.request import Request
from tickertape.worker.functions.values import FunctionFailed, ToolCall
from tickertape.worker.upstream.answer_stream import Limits, Take
from tickertape.worker.upstream.errors import DeadlineExceeded
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.surrogates import without_orphans
from tickertape.worker.upstream.watchdog import Watchdog

log = structlog.get_logger()

_MOST_MESSAGE_CHARS = 2000
# A function that yields without waiting for anything gives way after so many values.
_VALUES_AT_A_TURN = 64
# Functions that go on after the grace. The event loop itself keeps no task alive.
_LEFT_BEHIND: set[asyncio.Task[None]] = set()
# What functions left running is logged once of each kind, because libraries keep such tasks, too.
_LOGGED_TASKS: set[tuple[str, str]] = set()


# Their texts quote nothing of a request.
_OF_OURS = WrongValue | WrongCheckpoint | CheckpointTooLate


class Start(NamedTuple):
    """What a function begins with. `again` are pieces that readers get again before its values."""

    request: Request
    context: Context
    again: list[Piece]


class FunctionAnswer:
    """The answer of a function: an async context manager, read by `deliver`.

    `first_byte_s` of the limits bounds each silence of the function, because a tool may run long
    between two values. Leaving the block cancels the function, and waits for it for `stop_grace_s`.
    """

    def __init__(
        self,
        function: Function,
        prepare: Callable[[], Awaitable[Start]],
        maker: PieceMaker,
        marking: Marking,
        limits: Limits,
        *,
        stop_grace_s: float,
    ) -> None:
        self._function = function
        self._prepare = prepare
        self._marking = marking
        self._maker = maker
        self._limits = limits
        self._stop_grace_s = stop_grace_s
        self._is_over = False
        self._failure: Failure | None = None
        self._start: Start
        self._watchdog: Watchdog
        self._deadline_at = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watchdog = Watchdog()
        self._deadline_at = self._watchdog.time() + self._limits.deadline_s
        try:
            self._start = await self._prepare()
        except BaseException:
            self._watchdog.stop()
            raise
        request_id = self._start.request.id
        self._log = log.bind(function=self._function.name, request_id=request_id)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._is_over = True
        self._watchdog.stop()
        try:
            if self._task is not None and not self._task.done():
                await self._stop(self._task)
        finally:
            self._marking.end()

    async def _stop(self, task: asyncio.Task[None]) -> None:
        self._start.context.cancel()
        task.cancel()
        _, pending = await asyncio.wait({task}, timeout=self._stop_grace_s)
        if pending:
            _LEFT_BEHIND.add(task)
            task.add_done_callback(_LEFT_BEHIND.discard)
            self._log.error("function ignores its end")

    async def deliver(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        """Pass the pieces of each value to `take` until the function returns.

        Raises SourceFailed if the function raised or yielded what has no place in an answer, and
        DeadlineExceeded, all after the pieces of earlier values.
        """
        self._task = task = asyncio.create_task(
            self._run(take, room), name=name_of(self._function.name)
        )
        due = self._next_due()
        try:
            await self._watchdog.wait(lambda: asyncio.wait({task}), due)
        except TimeoutError:
            if self._watchdog.time() >= self._deadline_at:
                raise DeadlineExceeded("The function took too long.") from None
            silence_s = self._limits.first_byte_s
            raise DeadlineExceeded(f"The function yielded nothing for {silence_s:g} s.") from None
        if self._failure is not None:
            raise SourceFailed(self._failure)

    def _next_due(self) -> float:
        return min(self._watchdog.time() + self._limits.first_byte_s, self._deadline_at)

    async def _run(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        """Run the function to its end. Only a cancellation by this object leaves this."""
        begun = TaskCount()
        try:
            await self._pass_values(take, room)
        except asyncio.CancelledError as error:
            if self._is_over:
                raise
            self._note(error)  # of a task of the function's own
        # Whatever a function raises must end its request only. In a task, SystemExit and
        # KeyboardInterrupt would end the worker.
        except BaseException as error:  # noqa: BLE001
            self._note(error)
        finally:
            self._log_left(begun)

    def _log_left(self, begun: TaskCount) -> None:
        for code in begun.left():
            if (self._function.name, code) not in _LOGGED_TASKS:
                _LOGGED_TASKS.add((self._function.name, code))
                self._log.warning("function leaves a task behind", task=code)

    async def _pass_values(self, take: Take, room: Callable[[], Awaitable[None]]) -> None:
        await self._pass(self._maker.repeat(self._start.again), take, room)
        await self._recorded(self._marking.begin())
        values = self._function.run(self._start.request, self._start.context)
        count = 0
        async with contextlib.aclosing(values):  # type: ignore[type-var]  # checked by the decorator
            async for value in values:
                if self._is_over:
                    return
                self._watchdog.extend(self._next_due())
                count += 1
                await self._pass(self._maker.read(value), take, room)
                if isinstance(value, ToolCall):
                    await self._recorded(self._marking.called_tool())
                if count % _VALUES_AT_A_TURN == 0:
                    await asyncio.sleep(0)
        await self._pass(self._maker.close(), take, room)

    async def _pass(
        self, pieces: list[Piece], take: Take, room: Callable[[], Awaitable[None]]
    ) -> None:
        if pieces and not take(pieces):
            await self._recorded(room())

    async def _recorded(self, recording: Awaitable[None]) -> None:
        # Redis is slow then, and not the function.
        self._watchdog.extend(self._deadline_at)
        await recording
        self._watchdog.extend(self._next_due())

    def _note(self, error: BaseException) -> None:
        # Stays if the look at an error of the function's own class, or the log, raises.
        self._failure = Failure(FailureCode.FUNCTION, "The function failed.")
        self._failure = self._failure_of(error)

    def _failure_of(self, error: BaseException) -> Failure:
        match error:
            case FunctionFailed():
                shown = _shown(error.message)
                return Failure(FailureCode.FUNCTION, shown, is_final=not error.retryable)
            case TooLong():
                return Failure(FailureCode.TOO_LONG, str(error))
            case _:
                return self._defect(error)

    def _defect(self, error: BaseException) -> Failure:
        """The failure for an error of the function, whose text may quote what nobody may see."""
        error_id, kind = secrets.token_hex(4), type(error).__name__
        problem = {"problem": str(error)} if isinstance(error, _OF_OURS) else {}
        event = "function failed after its end" if self._is_over else "function failed"
        self._log.error(event, error_id=error_id, exc_info=error, **problem)
        return Failure(FailureCode.FUNCTION, f"The function failed ({kind}, error {error_id}).")


def _shown(message: object) -> str:
    """The words of a function for its caller, in a form and length that every reader can take."""
    text = (
        message if isinstance(message, str) else f"The function failed ({type(message).__name__})."
    )
    shown = without_orphans(text[:_MOST_MESSAGE_CHARS])
    return shown if len(text) <= _MOST_MESSAGE_CHARS else f"{shown}…"
