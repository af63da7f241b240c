"""The `tickertape` command: reads the command line, runs the command, and tells what went wrong."""

import argparse
import os
import sys

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.arguments import parse
from tickertape.cli.exits import CommandFailed, Exit

_PIPE_CLOSED = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code. What is wrong is told in lines, no traceback."""
    arguments = parse(argv)
    try:
        return _run(arguments)
    except CommandFailed as error:
        _tell(str(error))
        return error.code
    except SettingsInvalid as error:
        _tell(str(error))
        return Exit.USAGE
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Python would flush stdout once more at exit, and complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED


def _run(given: argparse.Namespace) -> int:
    match given.command:
        case "up":
            return _up(given)
        case "chat":
            return _chat(given)
        case "watch":
            from tickertape.cli.chat import watch

            return watch.run(given.request_id, cursor=given.after, holds_answer=given.buffer)
        case "roles" | "dead" | "doctor":
            return _inspect(given)
        case _:
            return _serve(given)


def _inspect(given: argparse.Namespace) -> int:
    match given.command:
        case "roles":
            from tickertape.cli.inspect import roles

            return roles.run(given.name)
        case "dead":
            from tickertape.cli.inspect import dead

            return dead.run(
                given.action, given.request_ids, is_all=given.all, data_dir=given.data_dir
            )
        case _:
            from tickertape.cli.inspect import doctor

            return doctor.run(given.host, given.port, given.data_dir)


def _up(given: argparse.Namespace) -> int:
    if os.name != "posix":
        raise CommandFailed("`up` needs Linux, macOS or WSL", Exit.USAGE)
    from tickertape.cli.up import command as up

    options = up.Options(given.host, given.port, given.workers, given.data_dir, given.open)
    return up.run(options)


def _serve(given: argparse.Namespace) -> int:
    from tickertape.cli import serve as process

    match given.command:
        case "api":
            return process.run_api(
                given.host,
                given.port,
                processes=given.processes,
                is_open=given.open,
                is_behind_loopback=given.behind_loopback,
            )
        case "worker":
            return process.run_worker(given.slots)
        case _:
            return process.run_model(given.host, given.port, given.slots)


def _chat(given: argparse.Namespace) -> int:
    from tickertape.cli.chat import ask as chat

    body = {
        "message": chat.read_message(" ".join(given.message)),
        "role": given.role,
        "variables": dict(given.var) if given.var else None,
        "model": given.model,
        "temperature": given.temperature,
        "conversation_id": given.conversation,
    }
    asked = {name: value for name, value in body.items() if value is not None}
    return chat.run(asked, holds_answer=given.buffer)


def _tell(message: str) -> None:
    print("\n".join(f"tickertape: {line}" for line in message.splitlines()), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
