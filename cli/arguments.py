"""The command line: what can be asked, and its help. Starts nothing."""

import argparse
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeAlias

_EXITS = """\
Exit codes: 0 completed, 1 failed, 2 wrong command line or setting, 3 what was written to a pipe or
file is void (the answer began again), 130 cancelled."""
_CHAT = f"""\
Submit a message and type its answer as it comes. A broken connection is resumed without losing or
repeating a byte. Ctrl+C cancels the request on the server; a second Ctrl+C leaves at once.

On a terminal, an answer that has to begin again is announced and typed again. In a pipe or a file
it cannot be taken back: the command then ends with exit code 3. With --buffer nothing is written
before the answer is complete. Nothing but the answer goes to stdout.

{_EXITS}"""
_WATCH = f"""\
Follow a request that was submitted anywhere, from its beginning. Leaving changes nothing.

{_EXITS}"""
_UP = """\
Start everything on this machine: Redis unless REDIS_URL is set, a small model unless OPENAI_API_KEY
or OPENAI_BASE_URL is set, the API and workers. All of it ends with this process. Ctrl+C lets the
workers hand back what they run; a second Ctrl+C kills."""
_DEAD = """\
Requests that every worker died of, until TICKERTAPE_MAX_CRASHES was reached. They have failed as
poison, and their prompts are kept for a week. `retry` submits the same again as a new request, and
`drop` erases what is left. For operators: it talks to Redis itself, past all API keys."""
_FOOT = "Settings are read from the environment and from .env; `tickertape doctor` checks them all."


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked: `command` and its options. Ends the process for --help, and when wrong."""
    parser = argparse.ArgumentParser(
        prog="tickertape",
        description="An append-only log per LLM request: typed once, watched by many.",
        epilog=_FOOT,
    )
    parser.add_argument("--version", action="version", version=f"tickertape {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_processes(commands)
    _add_clients(commands)
    _add_inspection(commands)
    return parser.parse_args(argv)


def installed_version() -> str:
    """The version of the installed package."""
    try:
        return version("tickertape")
    except PackageNotFoundError:
        return "(not installed)"


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no public name


def _add_up(commands: _Commands) -> None:
    up = _add(commands, "up", "everything on this machine", _UP)
    _add_address(up)
    up.add_argument("--workers", type=_positive, default=1, metavar="N", help="default: 1")
    _add_data_dir(up)


def _add_processes(commands: _Commands) -> None:
    api = _add(commands, "api", "the HTTP process", "Serve the API; needs REDIS_URL.")
    _add_address(api)
    api.add_argument("--processes", type=_positive, default=1, metavar="N", help="default: 1")
    api.add_argument(
        "--behind-loopback",
        action="store_true",
        help="any --host without TICKERTAPE_API_KEYS, since only loopback leads to it, as to a "
        "container's published port: unlike --open, callers must still name a loopback host",
    )
    worker = _add(commands, "worker", "a process that generates", "Work; needs REDIS_URL.")
    worker.add_argument(
        "--slots", type=_positive, default=64, metavar="N", help="requests at one time; default: 64"
    )
    model = _add(
        commands, "model", "the small local model", "Serve it as an OpenAI-compatible API."
    )
    model.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    model.add_argument("--port", type=_port, default=9000, help="default: 9000; 0 takes a free one")
    model.add_argument("--slots", type=_positive, default=None, metavar="N", help="at one time")


def _add_clients(commands: _Commands) -> None:
    chat = _add(commands, "chat", "ask, and read the answer", _CHAT)
    chat.add_argument("message", nargs="+", metavar="MESSAGE", help="or - to read it from stdin")
    chat.add_argument("-r", "--role", help="a role template; see `tickertape roles`")
    chat.add_argument(
        "--var",
        action="append",
        type=_variable,
        metavar="NAME=VALUE",
        help="in place of the role's default; may be repeated",
    )
    chat.add_argument("-m", "--model", help="default: the server's")
    chat.add_argument("-t", "--temperature", type=float)
    chat.add_argument("-c", "--conversation", metavar="ID", help="remember what was said under ID")
    _add_buffer(chat)
    watch = _add(commands, "watch", "follow a request", _WATCH)
    watch.add_argument("request_id", metavar="REQUEST_ID")
    watch.add_argument("--after", metavar="CURSOR", help="only what comes after this event id")
    _add_buffer(watch)


def _add_inspection(commands: _Commands) -> None:
    roles = _add(commands, "roles", "the role templates", "List the roles, or show one.")
    roles.add_argument("name", nargs="?", metavar="NAME")
    dead = _add(commands, "dead", "requests that were given up", _DEAD)
    dead.add_argument("action", choices=["list", "retry", "drop"])
    dead.add_argument("request_ids", nargs="*", metavar="REQUEST_ID")
    dead.add_argument("--all", action="store_true", help="retry or drop every one of them")
    _add_data_dir(dead)
    doctor = _add(
        commands, "doctor", "check settings and surroundings", "Check everything a start needs."
    )
    doctor.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    doctor.add_argument("--port", type=_port, default=8000, help="default: 8000")
    _add_data_dir(doctor)


def _add(commands: _Commands, name: str, summary: str, description: str) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument(
        "--port", type=_port, default=8000, help="default: 8000; 0 takes a free one"
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="serve more than loopback without TICKERTAPE_API_KEYS: everyone gets in",
    )


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir", type=Path, default=Path(".tickertape"), help="default: .tickertape"
    )


def _add_buffer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--buffer", action="store_true", help="write the answer only when it is complete"
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not positive")
    return number


def _variable(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not name or not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{number} is no port")
    return number
