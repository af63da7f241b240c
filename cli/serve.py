"""`tickertape api`, `worker` and `model`: one process each, for `up`, containers and units."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog

import tickertape
from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.roles import RolesInvalid
from tickertape.runtime import logs
from tickertape.runtime.settings import Settings, load_settings, old_names_in_use


def run_api(
    host: str, port: int, *, processes: int, is_open: bool, is_behind_loopback: bool
) -> int:
    """Serve until SIGTERM or Ctrl+C. Raises SettingsInvalid, CommandFailed."""
    settings, _ = _settings()
    with _nothing_to_collect():
        from tickertape.api.serving.server import serve

    _configure_logs()
    try:
        return serve(
            settings,
            host,
            port,
            processes=processes,
            open_to_all=is_open,
            behind_loopback=is_behind_loopback,
            configure_logs=logs.configure,
        )
    except RolesInvalid as invalid:
        raise CommandFailed(str(invalid), Exit.USAGE) from None


def run_worker(slots: int) -> int:
    """Work until SIGTERM or Ctrl+C, then drain. Raises SettingsInvalid."""
    settings, redis_url = _settings()
    with _nothing_to_collect():
        from tickertape.worker.main import STOP_SIGNALS, run

    _configure_logs()
    # Until the worker listens. A handler that raises SystemExit while an event loop is being made
    # may be heard by nobody.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with asyncio.Runner(loop_factory=_loop_factory) as runner:
        runner.run(run(settings, redis_url, slots=slots))
    return 0


def run_model(host: str, port: int, slots: int | None) -> int:
    """Become the local model's process."""
    arguments = [f"--host={host}", f"--port={port}"]
    if slots is not None:
        arguments.append(f"--slots={slots}")
    # A program of its own, so that its C++ side meets nothing that was imported here.
    argv = module_argv("tickertape.cli.up.local_model", *arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **module_environment()})  # noqa: S606  # no shell is meant


def _settings() -> tuple[Settings, str]:
    """The settings and the address of Redis, before anything large is imported for nothing."""
    # Until the program itself listens to it. The first process of a container would else go on: the
    # kernel spares it signals that it has no handler for. Not `sys.exit`: while something is being
    # imported, SystemExit may be raised in a callback that nobody hears. There is nothing to tidy.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = load_settings()
    if settings.redis_url is None:
        raise SettingsInvalid(
            "REDIS_URL is not set: give the server of the queue, redis://host:port, or let"
            " `tickertape up` start everything"
        )
    return settings, settings.redis_url


def _configure_logs() -> None:
    logs.configure()
    for old, new in old_names_in_use().items():
        structlog.get_logger("settings").warning("old name of a setting", given=old, use=new)


@contextlib.contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Import without the cycle collector: nothing is garbage yet, and looking takes 0.1 s."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _loop_factory() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def module_argv(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours; it needs `module_environment`."""
    return [sys.executable, "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """What makes `python -m` find our packages, and nothing of the same name where the user is.

    Without it the working directory comes first, and `api` or `worker` there would be run.
    """
    home = str(Path(tickertape.__file__).parent.parent)
    others = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([home, others] if others else [home])
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": path}
