"""Prints the answer of one request as it arrives. `chat` and `watch` share this code."""

from tickertape.cli.chat.actions import Action, End, Fold
from tickertape.cli.chat.terminal import OutputVoid, Terminal
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.program import program_name
from tickertape.client import AsyncEvents, CallRefused, StreamLost


async def print_answer(stream: AsyncEvents, terminal: Terminal, request_id: str) -> int:
    """Print until the request ends, and return the exit code for how it ended.

    Raises CommandFailed if the end cannot be read, or if the answer was restarted after output was
    written to a pipe or file.
    """
    fold = Fold(is_whole=stream.cursor is None)
    try:
        async with stream as events:
            async for event in events:
                for action in fold.apply(event):
                    terminal.show(action)
                    if isinstance(action, End):
                        return _exit_code(action)
    except OutputVoid as void:
        raise CommandFailed(
            f"the answer was restarted ({void}); discard what was written. To read the new answer:"
            f" {program_name()} watch --buffer {request_id}",
            Exit.VOID,
        ) from None
    except StreamLost as lost:
        after = f" --after {lost.cursor}" if lost.cursor else ""
        raise CommandFailed(
            f"{lost}; to continue later: {program_name()} watch {request_id}{after}"
        ) from None
    except CallRefused as refused:
        raise CommandFailed(f"the answer cannot be read: {refused}") from None
    raise AssertionError("the stream of a request ends after its last event")


def _exit_code(end: Action) -> int:
    match end:
        case End("completed", None):
            return Exit.OK
        case End("cancelled"):
            return Exit.INTERRUPTED
        case _:
            return Exit.FAILED
