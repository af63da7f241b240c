"""The message of `tickertape chat`, from the command line and from stdin."""

import os
import select
import stat
import sys

from tickertape.cli.exits import CommandFailed, Exit

_QUIET_S = 5.0


def read_message(message: str | None) -> str:
    """The message to send. Raises CommandFailed if it is empty.

    Without a message, or with `-`, the message is read from stdin. With a message, the text of a
    pipe or a file on stdin follows it.
    """
    if message is None or message == "-":
        message = _read_stdin()
    elif _is_pipe_or_file():
        _note_if_quiet()
        message = "\n\n".join(part for part in (message, _read_stdin()) if part.strip())
    if not message.strip():
        raise CommandFailed("the message is empty", Exit.USAGE)
    return message


def _read_stdin() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace")


def _is_pipe_or_file() -> bool:
    """Whether somebody redirected stdin. The null device of a service has nothing to read."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):  # stdin is closed, or replaced by an object
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)


def _note_if_quiet() -> None:
    # A program that keeps the pipe open would make this command wait without a word.
    if not select.select([sys.stdin], [], [], _QUIET_S)[0]:
        note = "reading the rest of the message from stdin; add </dev/null if there is none"
        print(f"tickertape: {note}", file=sys.stderr)
