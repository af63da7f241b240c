"""`tickertape up`: everything on this machine, as processes that end with this one."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.request import getproxies

from tickertape.cli.arguments import installed_version
from tickertape.cli.chat.terminal import harmless
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.serve import module_argv, module_environment
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.data_dir import EmbeddedServerError
from tickertape.cli.up.environment import (
    ModelAddress,
    how_to_use,
    model_environment,
    needs_model,
    needs_redis,
    slots_per_worker,
    url_of,
)
from tickertape.cli.up.local_model import LocalModel, LocalModelError, local_model
from tickertape.cli.up.ports import find_port
from tickertape.cli.up.service import Service
from tickertape.cli.up.supervisor import STOP_SIGNALS, Supervisor
from tickertape.cli.up.valkey import EmbeddedServer, embedded_server
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings, load_settings

_READY_POLL_S = 0.05
_UNREADY_AFTER_S = 20.0
# What a worker logs when it begins to claim.
_WORKER_READY = "working"
# Only workers talk to the upstream.
_FOR_WORKERS = frozenset({"OPENAI_API_KEY", "OPENAI_BASE_URL"})


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    host: str
    port: int
    workers: int
    data_dir: Path
    is_open: bool


def run(options: Options) -> int:
    """Run until a signal; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    started_s = time.monotonic()
    settings = load_settings()
    if options.workers > 1 and settings.worker_health_port:
        raise CommandFailed(
            f"TICKERTAPE_WORKER_HEALTH_PORT is one port, and {options.workers} workers would want"
            " it: unset it, or start one worker",
            Exit.USAGE,
        )
    port = find_port(options.host, options.port)
    logs = _make_log_directory(options.data_dir)
    _say(f"Tickertape {installed_version()}")
    try:
        with _stop_signals_interrupt(), contextlib.ExitStack() as resources:
            redis, model = _services(settings, options.data_dir, logs)
            for service in (redis, model):
                if service is not None:
                    resources.callback(service.stop)
                    service.start()
            _say(_redis_line(settings, redis))
            _say(_model_line(settings, model))
            _say(f"Logs     {logs}")
            groups = _children(options, port, logs, model)
            services: list[Service[Any]] = [s for s in (redis, model) if s is not None]
            supervisor = Supervisor(services, groups, _environment_of, _say)
            announcement = _Announcement(url_of(options.host, port), groups[1], settings, started_s)
            return asyncio.run(_supervise(supervisor, announcement))
    except (EmbeddedServerError, LocalModelError) as error:
        raise CommandFailed(str(error), Exit.USAGE) from None
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


async def _supervise(supervisor: Supervisor, announcement: "_Announcement") -> int:
    announcing = asyncio.create_task(announcement.make(), name="announcing")
    try:
        return await supervisor.run()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


@dataclass(frozen=True)
class _Announcement:
    """That it is ready, once the API and a worker are, and how to use it."""

    url: str
    workers: Sequence[ChildProcess]
    settings: Settings
    started_s: float

    async def make(self) -> None:
        # Here, while the processes start, since it takes a third of a second to import.
        from tickertape.cli.chat.client import Client

        has_told = False
        async with Client(self.url) as client:
            while not (any(w.is_ready for w in self.workers) and await client.is_ready()):
                if self._age_s() > _UNREADY_AFTER_S and not has_told:
                    has_told = True
                    _say("This takes long; the logs may say why.")
                await asyncio.sleep(_READY_POLL_S)
        has_keys = self.settings.api_keys is not None
        _say(how_to_use(self.url, has_keys=has_keys, has_proxy=bool(getproxies())))
        _say(f"Ready after {self._age_s():.1f} s. Ctrl+C stops everything.")

    def _age_s(self) -> float:
        return time.monotonic() - self.started_s


def _services(
    settings: Settings, data_dir: Path, logs: Path
) -> tuple[Service[EmbeddedServer] | None, Service[LocalModel] | None]:
    redis = model = None
    if needs_redis(settings):
        redis = Service(
            "redis", partial(embedded_server, data_dir), lambda server: {"REDIS_URL": server.url}
        )
    if needs_model(settings):

        def environment_of(running: LocalModel) -> Mapping[str, str]:
            address = ModelAddress(running.base_url, running.api_key, running.model)
            return model_environment(address, settings)

        model = Service("model", partial(local_model, logs / "model.log"), environment_of)
    return redis, model


def _children(
    options: Options, port: int, logs: Path, model: Service[LocalModel] | None
) -> tuple[list[ChildProcess], list[ChildProcess]]:
    """The API and the workers, in the order in which they end."""
    api = ["api", f"--host={options.host}", f"--port={port}"]
    if options.is_open:
        api.append("--open")
    worker = ["worker"]
    if model is not None:
        worker.append(f"--slots={slots_per_worker(model.server.slots, options.workers)}")
    workers = [
        ChildProcess(
            name,
            module_argv("tickertape.cli.main", *worker),
            logs / f"{name}.log",
            ready_event=_WORKER_READY,
        )
        for name in (f"worker-{number}" for number in range(1, options.workers + 1))
    ]
    return [
        ChildProcess("api", module_argv("tickertape.cli.main", *api), logs / "api.log")
    ], workers


def _environment_of(child: ChildProcess, known: Mapping[str, str]) -> Mapping[str, str]:
    if child.name == "api":
        known = {name: value for name, value in known.items() if name not in _FOR_WORKERS}
    return {**os.environ, **module_environment(), **known}


def _redis_line(settings: Settings, redis: Service[EmbeddedServer] | None) -> str:
    if redis is None:
        return f"Redis    {hide_secrets(settings.redis_url or '')}"
    server = redis.server
    whose = "of another `tickertape up`" if server.process is None else "started here"
    return f"Redis    {hide_secrets(server.url)}, {whose}, data in {server.log_path.parent}"


def _model_line(settings: Settings, model: Service[LocalModel] | None) -> str:
    if model is None:
        upstream = hide_secrets(settings.openai_base_url or "https://api.openai.com/v1")
        profile = f", profile {settings.upstream_profile}" if settings.upstream_profile else ""
        return f"Model    {settings.openai_model or '(as requests name it)'} at {upstream}{profile}"
    server = model.server
    return (
        f"Model    {server.model} on this machine, {server.slots} answers at one time. Small, and"
        " English only:\n         set OPENAI_API_KEY, or OPENAI_BASE_URL, for a better one"
    )


def _make_log_directory(data_dir: Path) -> Path:
    logs = data_dir / "logs"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        if not os.access(logs, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise CommandFailed(
            f"cannot keep logs in {logs}: {error.strerror}. Choose another place with --data-dir.",
            Exit.USAGE,
        ) from None
    return logs


def _say(text: str) -> None:
    # A terminal that is gone must not keep us from ending the processes in order.
    with contextlib.suppress(OSError):
        sys.stdout.write(harmless(text) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _stop_signals_interrupt() -> Iterator[None]:
    """Until the end of the block every stop signal does what Ctrl+C does."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
