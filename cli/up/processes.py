"""Decides which processes `up` runs, and with which arguments and environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tickertape.broker.outbox import named_consumers
from tickertape.cli.serve import module_argv, module_environment
from tickertape.cli.up.child import ChildProcess
from tickertape.cli.up.environment import (
    ModelAddress,
    drain_environment,
    log_environment,
    model_environment,
    needs_model,
    needs_redis,
    redis_environment,
    slots_per_worker,
)
from tickertape.cli.up.local_model import LocalModel, local_model
from tickertape.cli.up.model_weights import find_weights
from tickertape.cli.up.service import Service
from tickertape.cli.up.supervisor import SupervisorTiming
from tickertape.cli.up.valkey import EmbeddedServer, embedded_server
from tickertape.runtime.secret_files import unset_files
from tickertape.runtime.settings import Settings

_COMMAND = "tickertape.cli.main"
# The event that a worker logs when it begins to claim requests.
_WORKER_READY = "working"
# Only workers call the upstream.
_WORKER_VARIABLES = frozenset({"OPENAI_API_KEY", "OPENAI_BASE_URL"})


@dataclass(frozen=True)
class Options:
    """The options of `tickertape up`."""

    host: str
    port: int
    workers: int
    api_processes: int
    data_dir: Path
    is_open: bool
    switches_upstream: bool = False
    """Whether requests of another upstream may be sent to this one."""
    typed: str = ""
    """The command that runs `tickertape up` for the user, if it is not that one itself."""
    functions: str | None = None
    """The module whose functions the workers run."""


def redis_service(settings: Settings, data_dir: Path) -> Service[EmbeddedServer] | None:
    """The embedded server; None if REDIS_URL is set."""
    if not needs_redis(settings):
        return None
    return Service(
        "redis",
        partial(embedded_server, data_dir),
        lambda server: redis_environment(server.url, settings),
    )


def model_service(options: Options, settings: Settings, logs: Path) -> Service[LocalModel] | None:
    """The local model; None if an upstream or functions answer. Raises LocalModelError."""
    if not needs_model(settings, has_functions=options.functions is not None):
        return None

    def environment_of(model: LocalModel) -> Mapping[str, str]:
        address = ModelAddress(model.base_url, model.api_key, model.model)
        return model_environment(address, settings)

    # Found before the start, because a wrong file must end `up` with its reason.
    weights = find_weights(settings)
    return Service("model", partial(local_model, weights, logs / "model.log"), environment_of)


def api_process(options: Options, port: int, logs: Path) -> ChildProcess:
    """The API, not yet started."""
    arguments = ["api", f"--host={options.host}", f"--port={port}"]
    if options.api_processes > 1:
        arguments.append(f"--processes={options.api_processes}")
    if options.is_open:
        arguments.append("--open")
    return ChildProcess("api", module_argv(_COMMAND, *arguments), logs / "api.log")


def worker_processes(options: Options, logs: Path, model: LocalModel | None) -> list[ChildProcess]:
    """The workers, not yet started. Together they use every slot of the local `model`."""
    arguments = ["worker", *([options.functions] if options.functions else [])]
    if model is not None:
        arguments.append(f"--slots={slots_per_worker(model.slots, options.workers)}")
    argv = module_argv(_COMMAND, *arguments)
    return [
        ChildProcess(name, argv, logs / f"{name}.log", ready_event=_WORKER_READY)
        for name in (f"worker-{number}" for number in range(1, options.workers + 1))
    ]


def deliver_processes(settings: Settings, logs: Path) -> list[ChildProcess]:
    """The process that hands finished requests on, not yet started, if anything is set for it."""
    if not named_consumers(settings):
        return []
    return [ChildProcess("deliver", module_argv(_COMMAND, "deliver"), logs / "deliver.log")]


def supervisor_timing(settings: Settings) -> SupervisorTiming:
    """The times of a supervisor of children that drain as `drain_environment` says."""
    return SupervisorTiming(drain_s=sum(map(float, drain_environment(settings).values())))


def environment_of(
    child: ChildProcess, services: Mapping[str, str], *, settings: Settings
) -> Mapping[str, str]:
    """The environment of a child: the user's, and over it the addresses of the `services`."""
    if child.name == "api":
        services = {name: services[name] for name in services.keys() - _WORKER_VARIABLES}
    services = unset_files(services)
    return {
        **os.environ,
        **drain_environment(settings),
        **log_environment(settings),
        **module_environment(),
        **services,
    }
