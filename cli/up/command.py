"""`tickertape up`: starts everything on this machine, as processes that end with this one."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.signals import STOP_SIGNALS, handling, raise_interrupt
from tickertape.cli.up.announcement import Announcement
from tickertape.cli.up.console import model_line, other_upstream_line, print_line, redis_line
from tickertape.cli.up.data_dir import EmbeddedServerError
from tickertape.cli.up.environment import url_of
from tickertape.cli.up.model_weights import LocalModelError
from tickertape.cli.up.ports import find_port
from tickertape.cli.up.processes import (
    Options,
    api_process,
    deliver_processes,
    environment_of,
    model_service,
    redis_service,
    supervisor_timing,
    worker_processes,
)
from tickertape.cli.up.service import Server, Service
from tickertape.cli.up.supervisor import Supervisor
from tickertape.cli.up.upstream_data import claim_data_dir, label_of
from tickertape.cli.up.upstream_identity import UpstreamIdentity, upstream_identity
from tickertape.runtime.environment import load_settings
from tickertape.runtime.setting_names import check_names
from tickertape.runtime.settings import Settings
from tickertape.runtime.version import installed_version

T = TypeVar("T", bound=Server)


def run(options: Options) -> int:
    """Run until a stop signal; returns the exit code. Raises CommandFailed, SettingsInvalid."""
    started_s = time.monotonic()
    settings = load_settings()
    check_names(has_keys=settings.is_closed)
    _check_health_port(settings, options.workers)
    port = find_port(options.host, options.port, typed=options.typed)
    upstream = upstream_identity(settings)
    data_dir, logs = _make_folders(options.data_dir, upstream)
    print_line(f"Tickertape {installed_version()}")
    try:
        with handling(STOP_SIGNALS, raise_interrupt), contextlib.ExitStack() as resources:
            if settings.redis_url is not None:
                _check_redis(settings)
                _claim_redis(settings.redis_url, settings.namespace, upstream, options)
            redis = redis_service(settings, data_dir)
            model = model_service(options, settings, logs)
            redis_server = _start(redis, resources.callback)
            local_model = _start(model, resources.callback)
            print_line(redis_line(settings, redis_server))
            print_line(
                model_line(settings, local_model, has_functions=options.functions is not None)
            )
            print_line(f"Logs     {logs}")
            if data_dir != options.data_dir:
                print_line(other_upstream_line(options.data_dir, label_of(options.data_dir)))
            api = api_process(options, port, logs)
            workers = worker_processes(options, logs, local_model)
            services: list[Service[Any]] = [s for s in (redis, model) if s is not None]
            supervisor = Supervisor(
                services,
                # The last one, because it hands on what the others end.
                ([api], workers, deliver_processes(settings, logs)),
                partial(environment_of, settings=settings),
                print_line,
                supervisor_timing(settings),
            )
            announcement = Announcement(
                url_of(options.host, port),
                workers,
                settings,
                is_local=local_model is not None,
                has_upstream=local_model is not None or settings.has_upstream,
                started_s=started_s,
            )
            return asyncio.run(_supervise(supervisor, announcement))
    except (EmbeddedServerError, LocalModelError) as error:
        raise CommandFailed(str(error), Exit.USAGE) from None
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _check_redis(settings: Settings) -> None:
    # The import takes 0.3 s, which a start with an embedded server does not need.
    from tickertape.cli.checks.examine import check_start

    asyncio.run(check_start(settings, "up"))  # the processes log its warnings


def _claim_redis(
    redis_url: str, namespace: str, upstream: UpstreamIdentity, options: Options
) -> None:
    from tickertape.cli.up.redis_mark import claim_redis

    claim_redis(redis_url, upstream, namespace=namespace, replaces=options.switches_upstream)


def _start(service: Service[T] | None, at_end: Callable[[Callable[[], None]], object]) -> T | None:
    if service is None:
        return None
    at_end(service.stop)
    service.start()
    return service.server


async def _supervise(supervisor: Supervisor, announcement: Announcement) -> int:
    announcing = asyncio.create_task(announcement.run(), name="announcing")
    try:
        return await supervisor.run()
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)


def _check_health_port(settings: Settings, workers: int) -> None:
    if workers > 1 and settings.worker_health_port:
        raise CommandFailed(
            f"TICKERTAPE_WORKER_HEALTH_PORT is {settings.worker_health_port}, but --workers is"
            f" {workers}, and each worker needs a separate port. Unset it, or use --workers 1.",
            Exit.USAGE,
        )


def _make_folders(data_dir: Path, upstream: UpstreamIdentity) -> tuple[Path, Path]:
    """The folder for the data of this upstream, and the one for the log files."""
    logs = data_dir / "logs"
    try:
        own_dir = claim_data_dir(data_dir, upstream)
        logs = own_dir / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        if not os.access(logs, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(13, "Permission denied")
    except OSError as error:
        raise CommandFailed(
            f"cannot write log files to {logs}: {error.strerror}."
            " Choose another folder with --data-dir.",
            Exit.USAGE,
        ) from None
    return own_dir, logs
