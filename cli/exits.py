"""How commands end: exit codes, and the error that ends one with a line for the user."""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of every command. argparse itself ends with 2 on a wrong command line."""

    OK = 0
    FAILED = 1
    USAGE = 2
    VOID = 3
    """What went to a pipe or file is not the answer: it began again after output was written."""
    INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends the command. The message is for the user: what is wrong, and what to do about it."""

    def __init__(self, message: str, code: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code
