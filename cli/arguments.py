"""The command line: every command with its options and its help. Starts no process."""

import argparse
from pathlib import Path
from typing import TypeAlias

from tickertape.cli import commands as run
from tickertape.cli.argument_types import limit_of, port_of, positive_of, variable_of
from tickertape.runtime.version import installed_version

_EXITS = """\
Exit codes: 0 completed; 1 failed; 2 wrong command line or setting; 3 the answer was restarted, so
discard what was written to the pipe or file; 130 cancelled."""
_CHAT = f"""\
Submit a message and print the answer as it is generated. Without a message, a terminal opens a
prompt that keeps one conversation, and a pipe or file on stdin is the message. With a message, the
text of a pipe or file follows it. If the connection breaks, the command
reconnects without losing or repeating a byte. Ctrl+C cancels the request on the server. A second
Ctrl+C ends the command at once.

If an answer has to start over, a terminal shows a note and then the new answer. Output to a pipe or
a file cannot be taken back, so there the command ends with exit code 3. With --buffer, nothing is
written before the answer is complete. Only the answer is written to stdout.

{_EXITS}"""
_WATCH = f"""\
Print the answer to a request that any client submitted, from its beginning. With the id of a
conversation, print its questions and answers, and those to come. Ctrl+C ends the command and does
not disturb the request.

{_EXITS}"""
_LIST = "List the conversations of the server, or its requests, newest first."
_COMPLETION = """\
Print a script that completes the commands and options of tickertape:
  bash: eval "$(tickertape completion bash)"     in ~/.bashrc
  zsh:  tickertape completion zsh >_tickertape   in a folder of $fpath
  fish: tickertape completion fish >~/.config/fish/completions/tickertape.fish"""
_UP = """\
Start everything on this machine: the API, the workers, a Redis server unless REDIS_URL is set, and
a small model unless OPENAI_API_KEY or OPENAI_BASE_URL is set, or the model file of
TICKERTAPE_LOCAL_MODEL. All of them end with this command.
After Ctrl+C, workers finish their requests or return them to the queue. A second Ctrl+C skips
finishing."""
_API = "Serve the HTTP API. REDIS_URL must be set."
_WORKER = """\
Run requests from the queue. REDIS_URL must be set. With a MODULE of yours, requests whose model is
the name of a function in it are answered by that function (docs/functions.md)."""
_MODEL = """\
Serve the local model as an OpenAI-compatible API: the file of TICKERTAPE_LOCAL_MODEL, else the
built-in small one."""
_DEAD = """\
Requests that crashed TICKERTAPE_MAX_CRASHES workers. They failed with the code "poison", and their
prompts are kept for a week. `retry` submits them as new requests; `drop` deletes them. For
operators: this command connects to Redis directly and checks no API key."""
_KEYS = """\
Add a key for a tenant, list all keys, or revoke one. Redis keeps a hash of the key, and the API
accepts or refuses it within a second. `add` prints the key once. Scopes are some of submit, read,
cancel, erase, list, metrics and admin. For operators: this command connects to Redis directly."""
_STATUS = """\
Show whether all is well, and the numbers of the whole deployment: the queue, the workers, the
streams. Exit codes: 0 all is well; 1 something is wrong, or the API does not answer."""
_PARTITIONS = """\
Show the partitions of the queue, or change their number while everything runs. New requests use the
new number at once. Requests and conversations that exist stay where they are, and are found there,
so an earlier map is kept until nothing needs it. The command shows what still does, and drops the
map when it is run again with the same number after that.

A change needs no restart and ends within seconds: all processes follow a change within 2 seconds.
If the command is killed, run it again. Stop processes of version 0.1 before, which cannot follow.
For operators: this command connects to Redis directly and checks no API key."""
_DOCTOR = """\
Check the settings and everything that `tickertape api`, `worker` or `up` needs. Starts and changes
nothing, and shows no secret. Exit codes: 0 no failure, perhaps warnings; 1 a failure; 2 wrong
command line."""
_FOOT = (
    "Settings are read from the environment and from .env. `tickertape doctor` checks all of them."
)


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
        epilog=_FOOT,
    )
    parser.add_argument("--version", action="version", version=f"tickertape {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_processes(commands)
    _add_clients(commands)
    _add_inspection(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # argparse exports no name for this type


def _add_up(commands: _Commands) -> None:
    up = _add(commands, run.up, "start everything on this machine", _UP)
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
    api = _add(commands, run.api, "start the HTTP process", _API)
    _add_address(api)
    _add_count_of_processes(api)
    api.add_argument(
        "--behind-loopback",
        action="store_true",
        help="allow any --host without TICKERTAPE_API_KEYS, because only loopback leads to it, for"
        " example the published port of a container. Unlike with --open, callers must address it by"
        " a loopback host name",
    )
    worker = _add(commands, run.worker, "start what generates answers", _WORKER)
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
    model = _add(commands, run.model, "start the small local model", _MODEL)
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
    chat = _add(commands, run.chat, "send a message and print the answer", _CHAT)
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
    watch = _add(commands, run.watch, "print the answer to a request", _WATCH)
    watch.add_argument("watched_id", metavar="ID", help="of a request or of a conversation")
    watch.add_argument("--after", metavar="CURSOR", help="print only what follows this cursor")
    _add_buffer(watch)
    _add_server(watch)
    listing = _add(commands, run.list, "list conversations or requests", _LIST)
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
    completion = _add(commands, run.completion, "print the completion for a shell", _COMPLETION)
    completion.add_argument("shell", choices=["bash", "zsh", "fish"])
    status = _add(commands, run.status, "show whether all is well", _STATUS)
    _add_server(status)
    status.add_argument("--watch", action="store_true", help="show it again every two seconds")
    status.add_argument("--json", action="store_true", help="print the JSON of /status.json")
    dead = _add(commands, run.dead, "list, retry or drop poison requests", _DEAD)
    dead.add_argument("action", choices=["list", "retry", "drop"])
    dead.add_argument("request_ids", nargs="*", metavar="REQUEST_ID")
    dead.add_argument("--all", action="store_true", help="retry or drop every dead request")
    _add_data_dir(dead)
    partitions = _add(
        commands, run.partitions, "show or change the partitions of the queue", _PARTITIONS
    )
    partitions.add_argument(
        "count", nargs="?", type=positive_of, metavar="N", help="1 to 1024; without it, show only"
    )
    _add_data_dir(partitions)
    keys = _add(commands, run.keys, "add, list or revoke API keys", _KEYS)
    keys.add_argument("action", choices=["add", "list", "revoke"])
    keys.add_argument("subject", nargs="?", metavar="TENANT|KEY_ID")
    keys.add_argument("--scopes", metavar="A+B", help="what the key may do; default: everything")
    keys.add_argument("--models", metavar="A+B", help="the models that the key may use")
    keys.add_argument("--expires", metavar="AGE", help="30m, 12h or 90d; default: never")
    keys.add_argument("--name", default="", help="a note that `list` shows")
    _add_data_dir(keys)
    doctor = _add(commands, run.doctor, "check the settings and the machine", _DOCTOR)
    doctor.add_argument(
        "role",
        nargs="?",
        choices=["api", "worker", "up"],
        default="up",
        metavar="ROLE",
        help="api, worker or up: check what this command needs; default: up",
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
