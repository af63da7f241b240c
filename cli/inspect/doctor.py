"""`tickertape doctor`: looks at everything a start needs, and starts nothing. Shows no secret."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tickertape.broker import keys
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable
from tickertape.broker.rights import Rights
from tickertape.cli.chat.client import Client
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect import findings
from tickertape.cli.inspect.findings import Finding, Level, fail, ok, warn
from tickertape.cli.up.environment import needs_model, needs_redis, url_of
from tickertape.roles import RolesInvalid, load_roles
from tickertape.runtime.addresses import hide_secrets, is_loopback
from tickertape.runtime.settings import Settings, load_settings, old_names_in_use, variable_names

_BASE = ("fastapi", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "openai", "aiohttp")
_ANSWER_S = 5.0
_INSTALL = "install what requirements.lock lists"


def run(host: str, port: int, data_dir: Path) -> int:
    """Print a line per finding, and how to mend it; returns 1 if anything would fail."""
    found = asyncio.run(_examine(host, port, data_dir))
    for finding in found:
        print(finding)
    failures = sum(finding.level is Level.FAIL for finding in found)
    print(f"\n{failures} to mend." if failures else "\nNothing stands in the way.")
    return Exit.FAILED if failures else Exit.OK


async def _examine(host: str, port: int, data_dir: Path) -> list[Finding]:
    found = [
        findings.python_finding(tuple(sys.version_info[:3])),
        findings.packages_finding({name: _version(name) for name in _BASE}, _INSTALL),
        *findings.old_variables(old := old_names_in_use()),
        *findings.unknown_variables(os.environ, [*variable_names(), *old]),
    ]
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        lines = str(error).splitlines()
        return [*found, *(fail("settings", line, "correct it, or unset it") for line in lines)]
    return [
        *found,
        _env_file(),
        *await redis(settings),
        *await upstream(settings),
        await listening(host, port),
        *access(settings, host),
        *roles(settings),
        *_machine(data_dir, needs_data=needs_redis(settings)),
    ]


def _env_file() -> Finding:
    is_there = Path(".env").is_file()
    return ok("settings", ".env is read" if is_there else "no .env in this directory")


async def redis(settings: Settings) -> list[Finding]:
    """The server of REDIS_URL, or the one that `up` would start."""
    if settings.redis_url is None:
        return [_embedded_redis()]
    place = hide_secrets(settings.redis_url)
    connections = Connections(settings.redis_url)
    try:
        async with asyncio.timeout(_ANSWER_S):
            found = [
                *await _rights(connections, settings.partitions),
                *await _server(connections),
                *await _partitions(connections, settings.partitions),
            ]
    except AccessDenied as denial:
        return [fail("redis", f"{place}: {denial}", "correct the account in REDIS_URL")]
    except (Unavailable, TimeoutError) as error:
        reason = str(error.__cause__ or error) or "no answer in time"
        return [fail("redis", f"{place}: {reason}", "start it, or correct REDIS_URL")]
    finally:
        await connections.aclose()
    return [ok("redis", f"{place} answers"), *found]


async def _rights(connections: Connections, partitions: int) -> list[Finding]:
    missing = await Rights(connections, partitions).missing()
    return findings.rights_findings(missing)


async def _server(connections: Connections) -> list[Finding]:
    try:
        return findings.redis_findings(await connections.ask("INFO"))
    except AccessDenied:
        return [
            warn(
                "redis",
                "this account may not run INFO, so that version and persistence are not checked",
                "allow it: +info",
            )
        ]


async def _partitions(connections: Connections, wanted: int) -> list[Finding]:
    try:
        used = await connections.ask("GET", keys.partition_count())
    except AccessDenied:
        return []  # named among the rights
    return findings.partition_findings(wanted, used and int(used))


def _embedded_redis() -> Finding:
    from tickertape.cli.up.data_dir import EmbeddedServerError
    from tickertape.cli.up.valkey import find_server

    try:
        return ok("redis", f"`up` starts {find_server()}")
    except EmbeddedServerError as error:
        return fail("redis", "REDIS_URL is not set, and `up` has nothing to start", str(error))


async def upstream(settings: Settings) -> list[Finding]:
    """The server of OPENAI_BASE_URL, or the model that `up` would start."""
    if needs_model(settings):
        return [_local_model()]
    from tickertape.worker.upstream.client import Upstream
    from tickertape.worker.upstream.errors import NoModelList, UpstreamError

    key = settings.openai_api_key
    place = hide_secrets(settings.openai_base_url or "https://api.openai.com/v1")
    secret = key.get_secret_value() if key else None
    try:
        async with Upstream(
            settings.openai_base_url, secret, profile=settings.upstream_profile
        ) as asked:
            models = await asked.list_models()
    except NoModelList as error:
        return [warn("upstream", f"{place}: {error.message}", "check OPENAI_BASE_URL")]
    except UpstreamError as error:
        return [
            fail("upstream", f"{place}: {error.message}", "check OPENAI_BASE_URL, OPENAI_API_KEY")
        ]
    except SettingsInvalid as error:
        return [fail("upstream", str(error), "correct it, or unset it")]
    offered = [str(model["id"]) for model in models]
    return [
        ok("upstream", f"{place} answers; its profile is {asked.profile.name}"),
        findings.model_finding(settings.openai_model, offered),
    ]


def _local_model() -> Finding:
    from tickertape.cli.up.local_model import LocalModelError, find_weights

    try:
        return ok("upstream", f"`up` starts the local model {find_weights().name}")
    except LocalModelError as error:
        return fail("upstream", "neither an upstream nor the local model", str(error))


async def listening(host: str, port: int) -> Finding:
    """Whether the API can listen, or does already."""
    from tickertape.cli.up.ports import find_port

    try:
        find_port(host, port)
    except CommandFailed as error:
        async with Client(url_of(host, port)) as client:
            if await client.is_ready():
                return ok("port", f"Tickertape runs at {url_of(host, port)}")
        return fail("port", str(error), "give another with --port")
    return ok("port", f"{host} port {port} is free")


def access(settings: Settings, host: str) -> Iterator[Finding]:
    """Who gets in."""
    from tickertape.api.edge.auth import keys_from

    try:
        listed = keys_from(settings)
    except SettingsInvalid as error:
        yield fail("keys", str(error), "correct TICKERTAPE_API_KEYS")
        return
    if listed is not None:
        yield ok("keys", "asked of every caller")
    elif is_loopback(host):
        yield ok("keys", "none: whoever is on this machine may call the API")
    else:
        yield fail("keys", f"none, and {host} is not loopback", "set TICKERTAPE_API_KEYS")


def roles(settings: Settings) -> Iterator[Finding]:
    """The role files."""
    try:
        loaded = load_roles(settings.roles_dir)
    except RolesInvalid as invalid:
        for problem in invalid.problems:
            yield fail("roles", str(problem), "correct the file, or TICKERTAPE_ROLES_DIR")
    else:
        yield ok("roles", f"{len(loaded)}: {', '.join(loaded.names)}")


def _machine(data_dir: Path, *, needs_data: bool) -> Iterator[Finding]:
    import resource

    yield findings.descriptors_finding(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if needs_data:
        yield data_directory(data_dir)


def data_directory(data_dir: Path) -> Finding:
    """Where the embedded server would keep its data."""
    place = data_dir.absolute()
    existing = next(path for path in (place, *place.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return fail("data", f"{place} cannot be written", "choose another place with --data-dir")
    return findings.disk_finding(str(place), shutil.disk_usage(existing).free)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
