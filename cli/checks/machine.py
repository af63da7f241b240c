"""Looks at this machine and at files for what the pure checks judge. Changes nothing."""

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tickertape.broker.errors import SettingsInvalid
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, ok
from tickertape.cli.checks.of_machine import (
    descriptors_finding,
    disk_finding,
    packages_finding,
    python_finding,
)
from tickertape.cli.exits import CommandFailed
from tickertape.cli.up.environment import url_of
from tickertape.roles import RolesInvalid, load_roles
from tickertape.runtime.addresses import is_loopback
from tickertape.runtime.settings import Settings

_BASE = ("fastapi", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "openai", "aiohttp")
_STDOUT = "-"
_NO_KEYS = "unless Redis has keys (tickertape keys list)"


def program() -> Iterator[Finding]:
    """Findings about the interpreter and the packages."""
    yield python_finding(tuple(sys.version_info[:3]))
    yield packages_finding({name: _version(name) for name in _BASE})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


async def listening(host: str, port: int, *, limit_s: float = 2.0) -> Finding:
    """Whether the API can listen on this address, or already does and answers in `limit_s`."""
    from tickertape.cli.up.ports import find_port
    from tickertape.client import AsyncClient  # a start, which does not ask, needs no such import

    try:
        find_port(host, port)
    except CommandFailed as error:
        async with AsyncClient(url_of(host, port), "") as client:
            if await client.is_ready(limit_s):
                return ok("port-ours", f"Tickertape already runs at {url_of(host, port)}")
        return CASES["port-taken"].found(problem=str(error))
    return ok("port-free", f"{host} port {port} is free")


def webhooks(settings: Settings) -> Iterator[Finding]:
    """Whether the file of receivers, if there is one, can be used."""
    if settings.webhooks is None:
        return
    from tickertape.deliver.webhook_file import read  # most starts need no such import

    try:
        read(settings.webhooks)
    except SettingsInvalid as invalid:
        yield CASES["settings-webhooks"].found(problem=str(invalid))


def health_port(settings: Settings) -> Iterator[Finding]:
    """Whether a worker can answer probes on its port, if it has one."""
    yield from _probes("worker", settings.worker_health_host, settings.worker_health_port)


def deliver_port(settings: Settings) -> Iterator[Finding]:
    """Whether `tickertape deliver` can answer probes on its port, if it has one."""
    yield from _probes("deliver", settings.deliver_health_host, settings.deliver_health_port)


def _probes(process: str, host: str, port: int | None) -> Iterator[Finding]:
    if not port:
        return
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.create_server((host, port), family=family):
            yield ok("port-health", f"{host} port {port} is free for the probes of {process}")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        yield CASES["port-health"].found(
            variable=f"TICKERTAPE_{process.upper()}_HEALTH_PORT",
            port=port,
            host=host,
            problem=reason,
        )


def access(settings: Settings, host: str, *, is_open: bool = False) -> Iterator[Finding]:
    """Findings about the callers that the API accepts."""
    from tickertape.api.edge.listed_keys import needs_keys

    try:
        is_closed = needs_keys(settings)
    except SettingsInvalid as error:
        yield CASES["keys-wrong"].found(problem=str(error))
        return
    yield from key_file(settings)
    if is_closed:
        yield ok("keys-needed", "every caller needs a key")
        return
    if "*" in settings.origins:
        yield CASES["keys-origins"].found()
    if is_loopback(host):
        yield ok("keys-open", f"any program on this machine can call the API, {_NO_KEYS}")
    elif is_open:
        yield ok("keys-open", f"--open: everyone who reaches {host} can call the API, {_NO_KEYS}")
    else:
        yield CASES["keys-none"].found(host=host)


def key_file(settings: Settings) -> Iterator[Finding]:
    """Whether others may write to the file of keys, if it exists."""
    text = settings.api_keys.get_secret_value().strip() if settings.api_keys else ""
    if text.startswith("@"):
        path = Path(text[1:])
        if path.is_file() and path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            yield CASES["keys-writable"].found(path=path)


def roles(settings: Settings) -> Iterator[Finding]:
    """Findings about the role files."""
    try:
        loaded = load_roles(settings.roles_dir)
    except RolesInvalid as invalid:
        for problem in invalid.problems:
            yield CASES["roles-wrong"].found(problem=problem)
    else:
        yield ok("roles-loaded", f"{len(loaded)}: {', '.join(loaded.names)}")


def audit_log(settings: Settings) -> Iterator[Finding]:
    """Whether the audit log can be written."""
    if settings.audit_log in {None, _STDOUT}:
        return
    path = Path(str(settings.audit_log)).absolute()
    target = path if path.exists() else path.parent
    if not target.exists():
        yield CASES["audit-log"].found(path=path, problem=f"there is no folder {path.parent}")
    elif path.is_dir() or not os.access(target, os.W_OK):
        yield CASES["audit-log"].found(path=path, problem="it cannot be written")


def open_files() -> Finding:
    """Whether this process may open enough files."""
    import resource

    return descriptors_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def data_directory(data_dir: Path) -> Finding:
    """Whether the embedded server can write to its data folder."""
    folder = data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return CASES["data-folder"].found(folder=folder)
    return disk_finding(str(folder), shutil.disk_usage(existing).free)
