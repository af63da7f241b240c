"""Types the answer of one request as it comes: what `chat` and `watch` have in common."""

import contextlib

from tickertape.cli.chat.actions import Action, End, Fold
from tickertape.cli.chat.client import Refused
from tickertape.cli.chat.follow import Follower, Lost
from tickertape.cli.chat.terminal import OutputVoid, Terminal
from tickertape.cli.exits import CommandFailed, Exit


async def type_answer(follower: Follower, terminal: Terminal, request_id: str) -> int:
    """Follow to the end and return the exit code: the request's own end, not the connection's.

    Raises CommandFailed when the end cannot be read or the output cannot be mended.
    """
    fold = Fold(is_whole=follower.cursor is None)
    try:
        async with contextlib.aclosing(follower.events()) as events:
            async for event in events:
                for action in fold.apply(event):
                    terminal.show(action)
                    if isinstance(action, End):
                        return _exit_code(action)
    except OutputVoid as void:
        raise CommandFailed(
            f"the answer began again ({void}), so what was written is not the answer and must not"
            f" be used; the request goes on: tickertape watch --buffer {request_id}",
            Exit.VOID,
        ) from None
    except Lost as lost:
        after = f" --after {lost.cursor}" if lost.cursor else ""
        raise CommandFailed(
            f"{lost}; to read on later: tickertape watch {request_id}{after}"
        ) from None
    except Refused as refused:
        raise CommandFailed(f"the answer cannot be read: {refused}") from None
    raise AssertionError("a follower ends with an end")


def _exit_code(end: Action) -> int:
    match end:
        case End("completed", None):
            return Exit.OK
        case End("cancelled"):
            return Exit.INTERRUPTED
        case _:
            return Exit.FAILED
