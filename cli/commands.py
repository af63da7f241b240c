"""One function per command: turns its options into a call, and returns the exit code.

Each function imports what its command needs when it runs, so that `--help` and `watch` start
quickly. Raises CommandFailed or SettingsInvalid.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from tickertape.cli.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from tickertape.cli.chat.client_settings import Server

Command: TypeAlias = Callable[[argparse.Namespace], int]


def up(options: argparse.Namespace) -> int:
    """`tickertape up`."""
    if os.name != "posix":
        raise CommandFailed("`tickertape up` needs Linux, macOS or WSL", Exit.USAGE)
    from tickertape.cli.up import command
    from tickertape.cli.up.processes import Options

    return command.run(
        Options(
            options.host,
            options.port,
            options.workers,
            options.api_processes,
            options.data_dir,
            options.open,
            switches_upstream=options.switch_upstream,
            typed=options.typed,
            functions=options.functions,
        )
    )


def api(options: argparse.Namespace) -> int:
    """`tickertape api`."""
    from tickertape.cli import serve

    return serve.run_api(
        options.host,
        options.port,
        processes=options.processes,
        is_open=options.open,
        is_behind_loopback=options.behind_loopback,
    )


def worker(options: argparse.Namespace) -> int:
    """`tickertape worker`."""
    from tickertape.cli import serve

    if options.reload:
        return serve.run_worker_reloading(options.slots, options.processes, options.functions)
    return serve.run_worker(options.slots, options.processes, options.functions)


def deliver(_: argparse.Namespace) -> int:
    """`tickertape deliver`."""
    from tickertape.cli import serve

    return serve.run_deliver()


def model(options: argparse.Namespace) -> int:
    """`tickertape model`."""
    from tickertape.cli import serve

    return serve.run_model(options.host, options.port, options.slots)


def chat(options: argparse.Namespace) -> int:
    """`tickertape chat`."""
    from tickertape.cli.chat import ask
    from tickertape.cli.chat.message import read_message

    given = {
        "role": options.role,
        "variables": dict(options.var) if options.var else None,
        "model": options.model,
        "temperature": options.temperature,
        "conversation_id": options.conversation,
    }
    submit_options: Any = {name: value for name, value in given.items() if value is not None}
    if not options.message and not options.buffer and sys.stdin.isatty() and sys.stdout.isatty():
        from tickertape.cli.chat import interactive

        return interactive.run(_server(options), submit_options)
    message = read_message(" ".join(options.message) if options.message else None)
    return ask.run(_server(options), message, submit_options, buffers_answer=options.buffer)


def bench(options: argparse.Namespace) -> int:
    """`tickertape bench`."""
    from tickertape.cli.bench import command
    from tickertape.cli.chat.client_settings import Server

    return command.run(
        command.Options(
            server=Server(options.url, options.key, url_option="URL"),
            streams=options.streams,
            readers=options.readers,
            rate_per_s=options.rate,
            seconds=options.seconds,
            upstream=options.upstream,
            message=options.message,
            model=options.model,
            json_file=options.json,
            plot_file=options.plot,
        )
    )


def watch(options: argparse.Namespace) -> int:
    """`tickertape watch`."""
    from tickertape.cli.chat import watch as command

    return command.run(
        _server(options), options.watched_id, cursor=options.after, buffers_answer=options.buffer
    )


def list(options: argparse.Namespace) -> int:  # noqa: A001  # the command's name
    """`tickertape list`."""
    from tickertape.cli.chat import listing

    return listing.run(
        _server(options),
        is_requests=options.requests,
        query=" ".join(options.words) or None,
        limit=options.limit,
    )


def completion(options: argparse.Namespace) -> int:
    """`tickertape completion`."""
    import shtab

    from tickertape.cli.arguments import parser

    print(shtab.complete(parser(), options.shell))
    return Exit.OK


def roles(options: argparse.Namespace) -> int:
    """`tickertape roles`."""
    from tickertape.cli.inspect import roles as command

    return command.run(_server(options), options.name, is_local=options.local)


def status(options: argparse.Namespace) -> int:
    """`tickertape status`."""
    from tickertape.cli.chat.client_settings import Server
    from tickertape.cli.inspect import status as command

    return command.run(
        Server(options.url, options.key), is_watching=options.watch, is_json=options.json
    )


def dead(options: argparse.Namespace) -> int:
    """`tickertape dead`."""
    from tickertape.cli.inspect import dead as command

    return command.run(
        options.action, options.request_ids, is_all=options.all, data_dir=options.data_dir
    )


def partitions(options: argparse.Namespace) -> int:
    """`tickertape partitions`."""
    from tickertape.cli.inspect import partitions as command

    return command.run(options.count, data_dir=options.data_dir)


def keys(options: argparse.Namespace) -> int:
    """`tickertape keys`."""
    from tickertape.cli.inspect import keys as command

    new = command.NewKey(
        scopes=options.scopes, models=options.models, expires=options.expires, name=options.name
    )
    return command.run(options.action, options.subject, new, data_dir=options.data_dir)


def webhooks(options: argparse.Namespace) -> int:
    """`tickertape webhooks`."""
    from tickertape.cli.inspect import webhooks as command

    chosen = command.Chosen(options.webhook_ids, options.all, options.receiver)
    return command.run(options.action, chosen, data_dir=options.data_dir)


def doctor(options: argparse.Namespace) -> int:
    """`tickertape doctor`."""
    from tickertape.cli.checks.examine import Place
    from tickertape.cli.inspect import doctor as command

    place = Place(options.host, options.port, options.data_dir)
    return command.run(options.role, place, is_json=options.json)


def _server(options: argparse.Namespace) -> "Server":
    from tickertape.cli.chat.client_settings import Server

    return Server(options.url, options.key)
