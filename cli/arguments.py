"""The command line: every command with its options and its help. Starts no process."""

import argparse
from pathlib import Path
from typing import TypeAlias

from tickertape.cli import commands as run
from tickertape.cli import descriptions as text
from tickertape.cli.argument_types import limit_of, port_of, positive_of, variable_of
from tickertape.cli.bench.arguments import DESCRIPTION, add_options
from tickertape.runtime.version import installed_version


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The options of one command, and its function as `run`.

    Ends the process with 0 after --help and --version, and with 2 if the command line is wrong.
    """
    return parser().parse_args(argv)


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="tickertape",
        description="A server between users and a language model. It keeps each answer in a log "
        "that any number of clients can read live.",
        epilog=text.FOOT,
    )
    parser.add_argument("--version", action="version", version=f"tickertape {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_processes(commands)
    _add_clients(commands)
    add_options(_add(commands, run.bench, "measure a deployment of yours", DESCRIPTION))
    _add_inspection(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # argparse exports no name for this type


def _add_up(commands: _Commands) -> None:
    up = _add(commands, run.up, "start everything on this machine", text.UP)
    _add_address(up)
    up.add_argument("--workers", type=positive_of, default=1, metavar="N", help="default: 1")
    up.add_argument(
        "--api-processes",
        type=positive_of,
        default=1,
        metavar="N",
        help="processes of the API, as `tickertape api --processes N`; default: 1",
    )
    up.add_argument(
        "--functions",
        metavar="MODULE[:ATTRIBUTE]",
        help="a module with functions of yours that answer requests (docs/functions.md)",
    )
    up.add_argument(
        "--switch-upstream",
        action="store_true",
        help="use REDIS_URL although its requests were submitted for another upstream; those that"
        " wait there are sent to this one",
    )
    # What a person typed to start this command: `make run` passes its own name.
    up.add_argument("--typed", default="", help=argparse.SUPPRESS)
    _add_data_dir(up)


def _add_processes(commands: _Commands) -> None:
    api = _add(commands, run.api, "start the HTTP process", text.API)
    _add_address(api)
    _add_count_of_processes(api)
    api.add_argument(
        "--behind-loopback",
        action="store_true",
        help="allow any --host without TICKERTAPE_API_KEYS, because only loopback leads to it, for"
        " example the published port of a container. Unlike with --open, callers must address it by"
        " a loopback host name",
    )
    worker = _add(commands, run.worker, "start what generates answers", text.WORKER)
    worker.add_argument(
        "functions",
        nargs="?",
        metavar="MODULE[:ATTRIBUTE]",
        help="a module with functions, for example my_project.agents",
    )
    worker.add_argument(
        "--slots",
        type=positive_of,
        default=64,
        metavar="N",
        help="concurrent requests of each process; default: 64",
    )
    _add_count_of_processes(worker)
    worker.add_argument(
        "--reload",
        action="store_true",
        help="for development: start again when a Python file below this folder has changed",
    )
    _add(commands, run.deliver, "start what hands finished requests on", text.DELIVER)
    model = _add(commands, run.model, "start the small local model", text.MODEL)
    model.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    model.add_argument("--port", type=port_of, default=9000, help="default: 9000; 0: any free port")
    model.add_argument(
        "--slots",
        type=positive_of,
        default=None,
        metavar="N",
        help="concurrent answers; default: TICKERTAPE_LOCAL_MODEL_SLOTS",
    )


def _add_clients(commands: _Commands) -> None:
    chat = _add(commands, run.chat, "send a message and print the answer", text.CHAT)
    chat.add_argument(
        "message",
        nargs="*",
        metavar="MESSAGE",
        help="without a message, a terminal opens a prompt, and a pipe is read",
    )
    chat.add_argument("-r", "--role", help="a role template; `tickertape roles` lists them")
    chat.add_argument(
        "--var",
        action="append",
        type=variable_of,
        metavar="NAME=VALUE",
        help="set a variable of the role; may be repeated",
    )
    chat.add_argument("-m", "--model", help="default: the role's, else OPENAI_MODEL of the server")
    chat.add_argument("-t", "--temperature", type=float, help="default: the role's")
    chat.add_argument(
        "-c", "--conversation", metavar="ID", help="continue, or start, the conversation ID"
    )
    _add_buffer(chat)
    _add_server(chat)
    watch = _add(commands, run.watch, "print the answer to a request", text.WATCH)
    watch.add_argument("watched_id", metavar="ID", help="of a request or of a conversation")
    watch.add_argument("--after", metavar="CURSOR", help="print only what follows this cursor")
    _add_buffer(watch)
    _add_server(watch)
    listing = _add(commands, run.list, "list conversations or requests", text.LIST)
    listing.add_argument("words", nargs="*", metavar="WORDS", help="list what contains these words")
    listing.add_argument(
        "--requests", action="store_true", help="list requests in place of conversations"
    )
    listing.add_argument(
        "-n", "--limit", type=limit_of, default=20, metavar="N", help="at most 100; default: 20"
    )
    _add_server(listing)


def _add_inspection(commands: _Commands) -> None:
    roles = _add(
        commands, run.roles, "list the role templates", "List the roles of the server, or show one."
    )
    roles.add_argument("name", nargs="?", metavar="NAME")
    roles.add_argument(
        "--local", action="store_true", help="show the roles of this machine; ask no server"
    )
    _add_server(roles)
    completion = _add(commands, run.completion, "print the completion for a shell", text.COMPLETION)
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    status = _add(commands, run.status, "show whether all is well", text.STATUS)
    _add_server(status)
    status.add_argument("--watch", action="store_true", help="show it again every two seconds")
    status.add_argument("--json", action="store_true", help="print the JSON of /status.json")
    dead = _add(commands, run.dead, "list, retry or drop poison requests", text.DEAD)
    dead.add_argument("action", choices=["list", "retry", "drop"])
    dead.add_argument("request_ids", nargs="*", metavar="REQUEST_ID")
    dead.add_argument("--all", action="store_true", help="retry or drop every dead request")
    _add_data_dir(dead)
    partitions = _add(
        commands, run.partitions, "show or change the partitions of the queue", text.PARTITIONS
    )
    partitions.add_argument(
        "count", nargs="?", type=positive_of, metavar="N", help="1 to 1024; without it, show only"
    )
    _add_data_dir(partitions)
    keys = _add(commands, run.keys, "add, list or revoke API keys", text.KEYS)
    keys.add_argument("action", choices=["add", "list", "revoke"])
    keys.add_argument("subject", nargs="?", metavar="TENANT|KEY_ID")
    keys.add_argument("--scopes", metavar="A+B", help="what the key may do; default: everything")
    keys.add_argument("--models", metavar="A+B", help="the models that the key may use")
    keys.add_argument("--expires", metavar="AGE", help="30m, 12h or 90d; default: never")
    keys.add_argument("--name", default="", help="a note that `list` shows")
    _add_data_dir(keys)
    webhooks = _add(
        commands, run.webhooks, "list, retry or drop webhooks that were given up", text.WEBHOOKS
    )
    webhooks.add_argument("action", choices=["list", "retry", "drop"])
    webhooks.add_argument("webhook_ids", nargs="*", metavar="WEBHOOK_ID")
    webhooks.add_argument("--all", action="store_true", help="retry or drop every one of them")
    webhooks.add_argument("--receiver", metavar="NAME", help="only those of this receiver")
    _add_data_dir(webhooks)
    doctor = _add(commands, run.doctor, "check the settings and the machine", text.DOCTOR)
    doctor.add_argument(
        "role",
        nargs="?",
        choices=["api", "worker", "deliver", "up"],
        default="up",
        metavar="ROLE",
        help="api, worker, deliver or up: check what this command needs; default: up",
    )
    doctor.add_argument("--json", action="store_true", help="print the findings as JSON")
    doctor.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    doctor.add_argument("--port", type=port_of, default=8000, help="default: 8000")
    _add_data_dir(doctor)


def _add(
    commands: _Commands, function: run.Command, summary: str, description: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        function.__name__,
        help=summary,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=function)
    return parser


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument(
        "--port", type=port_of, default=8000, help="default: 8000; 0: any free port"
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help="allow a --host other than loopback without TICKERTAPE_API_KEYS: anyone who reaches"
        " the port can call the API",
    )


def _add_count_of_processes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--processes",
        type=positive_of,
        default=1,
        metavar="N",
        help="one for each core that it may use; default: 1",
    )


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".tickertape"),
        help="the folder of `tickertape up`; default: .tickertape",
    )


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--url", metavar="URL", help="the API; default: TICKERTAPE_URL, else http://127.0.0.1:8000"
    )
    parser.add_argument("--key", metavar="KEY", help="the API key; default: TICKERTAPE_API_KEY")


def _add_buffer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--buffer", action="store_true", help="write the answer only when it is complete"
    )
