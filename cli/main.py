"""The `tickertape` command: parses the command line, runs the command, and prints its error."""

import os
import sys

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.arguments import parse
from tickertape.cli.exits import CommandFailed, Exit

_PIPE_CLOSED = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. Expected errors become lines on stderr."""
    options = parse(argv)
    try:
        exit_code: int = options.run(options)
    except CommandFailed as error:
        _print_error(str(error))
        return error.code
    except SettingsInvalid as error:
        _print_error(str(error))
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout again at exit, and would print the same error a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return exit_code


def _print_error(message: str) -> None:
    print("\n".join(f"tickertape: {line}" for line in message.splitlines()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
