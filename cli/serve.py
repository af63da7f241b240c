"""`tickertape api`, `worker` and `model`: for `up`, containers and services."""

import asyncio
import contextlib
import functools
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

import tickertape
from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Role
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.history.opening import open_history
from tickertape.roles import RolesInvalid
from tickertape.runtime import logs
from tickertape.runtime.environment import load_settings
from tickertape.runtime.setting_names import check_names
from tickertape.runtime.settings import Settings
from tickertape.runtime.trace_settings import open_tracer

if TYPE_CHECKING:
    from tickertape.worker.group import Group


def run_api(
    host: str, port: int, *, processes: int, is_open: bool, is_behind_loopback: bool
) -> int:
    """Serve until a stop signal, then drain. Raises SettingsInvalid, CommandFailed."""
    settings, _ = _settings(serves=True)
    with _nothing_to_collect():
        from tickertape.api.serving.server import serve

    _configure_logs(settings.log_level)
    _check_start(settings, "api")
    # A missing package must end the start, in the parent of several processes.
    open_history(settings)
    try:
        return serve(
            settings,
            host,
            port,
            processes=processes,
            open_to_all=is_open,
            behind_loopback=is_behind_loopback,
            configure_logs=functools.partial(logs.configure, settings.log_level),
        )
    except RolesInvalid as invalid:
        raise CommandFailed(str(invalid), Exit.USAGE) from None


def run_worker(slots: int, processes: int, module: str | None) -> int:
    """Work until a stop signal, then drain; each process has `slots`. Raises SettingsInvalid.

    `module` names a module with functions, as load_functions has it.
    """
    settings, redis_url = _settings()
    with _nothing_to_collect():
        # Before several processes are forked, so that they import nothing again.
        importlib.import_module("tickertape.worker.main")
        from tickertape.worker.group import run_group

    _configure_logs(settings.log_level)
    _check_start(settings, "worker")
    if processes == 1:
        return _work(settings, redis_url, slots, module)
    return run_group(processes, _work, (settings, redis_url, slots, module), settings)


def run_worker_reloading(slots: int, processes: int, module: str | None) -> int:
    """Run one worker with the functions of a module, again after each change of a Python file.

    Raises CommandFailed for several processes, and without a module.
    """
    if module is None or processes != 1:
        raise CommandFailed(
            "--reload runs one process with functions of yours: name their module, and leave out"
            " --processes",
            Exit.USAGE,
        )
    from tickertape.cli.reload import run_reloading

    argv = module_argv("tickertape.cli.main", "worker", module, f"--slots={slots}")
    return run_reloading(argv, {**os.environ, **module_environment()}, Path.cwd())


def _work(
    settings: Settings,
    redis_url: str,
    slots: int,
    module: str | None,
    group: "Group | None" = None,
) -> int:
    from tickertape.worker.functions.loading import load_functions
    from tickertape.worker.main import BLOCKED_SIGNALS, run

    if group is not None:
        # A child that was not forked has configured nothing.
        logs.configure(settings.log_level)
        group.join()
    # In each process, because what a module opens does not survive a fork.
    functions = load_functions(module) if module is not None else []
    # Blocked until the worker installs its handlers. A handler that raised SystemExit while the
    # event loop is created could be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_SIGNALS)
    # From here on, so that its thread takes no signal.
    tracer = open_tracer("tickertape-worker")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(
            run(
                settings,
                redis_url,
                slots=slots,
                tracer=tracer,
                group=group,
                functions=functions,
            )
        )
    if tracer is not None:
        tracer.close()
    return 0


def run_deliver() -> int:
    """Hand finished requests on until a stop signal, then end what was begun.

    Raises SettingsInvalid.
    """
    settings, redis_url = _settings()
    from tickertape.deliver.main import run

    _configure_logs(settings.log_level)
    _check_start(settings, "deliver")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run(settings, redis_url))
    return 0


def run_model(host: str, port: int, slots: int | None) -> int:
    """Replace this process by the local model, which serves until it is killed."""
    arguments = [f"--host={host}", f"--port={port}"]
    if slots is not None:
        arguments.append(f"--slots={slots}")
    # A new program, so that its C++ code does not share a process with the modules imported here.
    argv = module_argv("tickertape.cli.up.local_model", *arguments)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**os.environ, **module_environment()})  # noqa: S606  # no shell is meant


def _settings(*, serves: bool = False) -> tuple[Settings, str]:
    """The settings and REDIS_URL, before any large import. Raises SettingsInvalid."""
    # A handler until the program installs its own. Without one, the first process of a container
    # would ignore SIGTERM. `sys.exit` could be lost in a callback during an import, and there is
    # nothing to clean up yet, hence `os._exit`.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = load_settings()
    check_names(has_keys=settings.is_closed if serves else None)
    if settings.redis_url is None:
        raise SettingsInvalid(CASES["redis-unset"].found().line)
    return settings, settings.redis_url


def _configure_logs(level: str) -> None:
    """Configure what this process leaves behind: its log, and no core if it crashes."""
    logs.configure(level)
    _write_no_core()


def _check_start(settings: Settings, role: Role) -> None:
    """End a start that only other settings can help, and log what `doctor` would warn of."""
    from tickertape.cli.checks.examine import check_start

    for finding in asyncio.run(check_start(settings, role)):
        structlog.get_logger(role).warning(
            "wrong set-up", case=finding.case, problem=finding.text, fix=finding.fix
        )


def _write_no_core() -> None:
    """A core has every prompt and key of the process. Programs that it starts write none either."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


@contextlib.contextmanager
def _nothing_to_collect() -> Iterator[None]:
    """Import without the cycle collector, which would take 0.1 s and find no garbage."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop, where that exists."""
    try:
        import uvloop
    except ImportError:  # uvloop does not support Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def module_argv(module: str, *arguments: str) -> list[str]:
    """The command line that runs a Tickertape module; run it with `module_environment`."""
    return [sys.executable, "-m", module, *arguments]


def module_environment() -> dict[str, str]:
    """Variables that make `python -m` import this installation of Tickertape.

    Without them, Python would look in the working directory first, and import a package of the user
    that has the same name.
    """
    home = str(Path(tickertape.__file__).parent.parent)
    user_path = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([home, user_path] if user_path else [home])
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": path}
