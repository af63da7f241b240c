"""How commands end: the exit codes, and the error that ends a command with a message."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. argparse ends with 2 as well if the command line is wrong."""

    OK = 0
    FAILED = 1
    USAGE = 2
    VOID = 3
    """The answer was restarted after output was written to a pipe or file: discard the output."""
    INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends the command. The message states what is wrong and what the user can do about it."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
