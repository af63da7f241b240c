"""Prints the answer of one request as it arrives. `chat` and `watch` share this code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from tickertape.cli.chat.actions import Action, End, Fold
from tickertape.cli.chat.server_errors import how_to_reach
from tickertape.cli.chat.terminal import OutputVoid, Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.program import program_name
from tickertape.client import AsyncEvents, CallRefused, StreamLost

_SPIN_S = 0.1


async def print_answer(stream: AsyncEvents, terminal: Terminal, request_id: str) -> int:
    """Print until the request ends, and return the exit code for how it ended.

    Raises CommandFailed if the end cannot be read, or if the answer was restarted after output was
    written to a pipe or file.
    """
    try:
        async with stream, spinning(terminal):
            return await _print(stream, terminal)
    except OutputVoid as void:
        raise CommandFailed(
            f"the answer was restarted ({void}); discard what was written. To read the new answer:"
            f" {program_name()} watch --buffer {request_id}",
            Exit.VOID,
        ) from None
    except StreamLost as lost:
        after = f" --after {lost.cursor}" if lost.cursor else ""
        raise CommandFailed(
            f"{lost}{how_to_reach(lost.__cause__)}. To continue later:"
            f" {program_name()} watch {request_id}{after}"
        ) from None
    except CallRefused as refused:
        raise CommandFailed(f"the answer cannot be read: {refused}") from None
    finally:
        terminal.settle()


async def _print(stream: AsyncEvents, terminal: Terminal) -> int:
    fold = Fold(is_whole=stream.cursor is None)
    async for event in stream:
        for action in fold.apply(event):
            terminal.show(action)
            if isinstance(action, End):
                return exit_code(action)
    raise AssertionError("the stream of a request ends after its last event")


@contextlib.asynccontextmanager
async def spinning(terminal: Terminal) -> AsyncIterator[None]:
    """Turn the spinner of the progress line during the block."""

    async def turn() -> None:
        while True:
            await asyncio.sleep(_SPIN_S)
            terminal.spin()

    turning = asyncio.create_task(turn(), name="spinner")
    try:
        yield
    finally:
        turning.cancel()
        await asyncio.gather(turning, return_exceptions=True)


def exit_code(end: Action) -> int:
    """The exit code for the end of a request."""
    match end:
        case End("completed", None):
            return Exit.OK
        case End("cancelled"):
            return Exit.INTERRUPTED
        case _:
            return Exit.FAILED
