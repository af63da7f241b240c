"""`tickertape doctor`: checks everything that a start needs. Starts nothing and shows no secret."""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tickertape.broker.agreement import read_agreed, refusal_of, settings_of_worker
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable
from tickertape.broker.rights import Rights
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect import findings
from tickertape.cli.inspect.findings import Finding, Level, fail, ok, warn
from tickertape.cli.up.environment import needs_model, needs_redis, url_of
from tickertape.client import AsyncClient
from tickertape.roles import RolesInvalid, load_roles
from tickertape.runtime.addresses import hide_secrets, is_loopback
from tickertape.runtime.environment import (
    given_variables,
    load_settings,
    old_names_in_use,
    variable_names,
)
from tickertape.runtime.settings import Settings

_BASE = ("fastapi", "uvicorn", "uvloop", "httptools", "redis", "hiredis", "openai", "aiohttp")
_ANSWER_S = 5.0
_INSTALL = "install them: pip install --no-deps --require-hashes -r requirements.lock"


def run(host: str, port: int, data_dir: Path) -> int:
    """Print each finding with its remedy. Returns Exit.FAILED if one of them prevents a start."""
    found = asyncio.run(_examine(host, port, data_dir))
    for finding in found:
        print(finding)
    failures = sum(finding.level is Level.FAIL for finding in found)
    print(f"\nProblems to fix: {failures}." if failures else "\nNo problem prevents a start.")
    return Exit.FAILED if failures else Exit.OK


async def _examine(host: str, port: int, data_dir: Path) -> list[Finding]:
    found = [
        findings.python_finding(tuple(sys.version_info[:3])),
        findings.packages_finding({name: _version(name) for name in _BASE}, _INSTALL),
        *findings.old_variables(old := old_names_in_use()),
        *findings.unknown_variables(given_variables(), [*variable_names(), *old]),
    ]
    try:
        settings = load_settings()
    except SettingsInvalid as error:
        lines = str(error).splitlines()
        return [
            *found,
            *(fail("settings", line, "correct the value, or unset it") for line in lines),
        ]
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
    exists = Path(".env").is_file()
    return ok("settings", ".env is read" if exists else "no .env in this directory")


async def redis(settings: Settings) -> list[Finding]:
    """Findings about the server of REDIS_URL, or the one that `up` would start."""
    if settings.redis_url is None:
        return [_embedded_redis()]
    address = hide_secrets(settings.redis_url)
    connections = Connections(
        settings.redis_url, namespace=settings.namespace, partitions=settings.partitions
    )
    try:
        async with asyncio.timeout(_ANSWER_S):
            primary = await connections.primary()
            # The other findings are about the partitions that are in use.
            partitions = await _partitions(connections, settings.partitions)
            found = [
                *await _rights(connections),
                *await _server(connections),
                *partitions,
                *await _agreement(connections, settings),
                *_nodes(connections),
            ]
    except SettingsInvalid as error:
        return [fail("redis", f"{address}: {error}", "correct REDIS_URL")]
    except AccessDenied as denial:
        return [fail("redis", f"{address}: {denial}", "correct the account in REDIS_URL")]
    except (Unavailable, TimeoutError) as error:
        reason = str(error.__cause__ or error) or "no answer in time"
        return [fail("redis", f"{address}: {reason}", "start the server, or correct REDIS_URL")]
    finally:
        await connections.aclose()
    named = f", the Sentinels name {primary}" if primary else ""
    return [ok("redis", f"{address} answers{named}"), *found]


async def _rights(connections: Connections) -> list[Finding]:
    missing = await Rights(connections).missing()
    return findings.rights_findings(missing)


async def _server(connections: Connections) -> list[Finding]:
    try:
        return findings.redis_findings(await connections.ask("INFO"))
    except AccessDenied:
        return [
            warn(
                "redis",
                "the account in REDIS_URL may not run INFO: version and persistence are unchecked",
                "add +info to the ACL of the account",
            )
        ]


async def _partitions(connections: Connections, wanted: int) -> list[Finding]:
    try:
        used = await connections.partitions.refresh()
    except AccessDenied:
        return []  # the findings about rights name it
    return findings.partition_findings(wanted, used)


async def _agreement(connections: Connections, settings: Settings) -> list[Finding]:
    try:
        agreed = await read_agreed(connections)
    except AccessDenied:
        return []  # as above
    refusal = refusal_of(agreed)
    refused = (
        [fail("redis", refusal, "see docs/redis.md, Releases side by side")] if refusal else []
    )
    waiting = await connections.ask_all(
        [("ZCARD", connections.keys.newer(n)) for n in range(connections.partitions.served)]
    )
    return [
        *refused,
        *findings.agreement_findings(settings_of_worker(settings), agreed),
        *findings.newer_findings(sum(waiting)),
    ]


def _nodes(connections: Connections) -> list[Finding]:
    """Where the partitions of a cluster are; the check of the rights has asked for that."""
    if not connections.is_cluster:
        return []
    owners: dict[str, list[int]] = {}
    for partition in range(connections.partitions.served):
        node = connections.node_of(partition)
        owners.setdefault(f"{node.host}:{node.port}" if node else "no node", []).append(partition)
    return findings.node_findings(owners)


def _embedded_redis() -> Finding:
    from tickertape.cli.up.data_dir import EmbeddedServerError
    from tickertape.cli.up.valkey import find_server

    try:
        return ok("redis", f"`tickertape up` starts {find_server()}")
    except EmbeddedServerError as error:
        return fail("redis", "REDIS_URL is not set, and no server is installed", str(error))


async def upstream(settings: Settings) -> list[Finding]:
    """Findings about the server of OPENAI_BASE_URL, or the model that `up` would start."""
    if needs_model(settings):
        return [_local_model(settings)]
    from tickertape.worker.upstream.client import Upstream
    from tickertape.worker.upstream.errors import NoModelList, UpstreamError

    key = settings.openai_api_key
    address = hide_secrets(settings.openai_base_url or "https://api.openai.com/v1")
    secret = key.get_secret_value() if key else None
    try:
        async with Upstream(
            settings.openai_base_url, secret, profile=settings.upstream_profile
        ) as client:
            models = await client.list_models()
    except NoModelList as error:
        return [warn("upstream", f"{address}: {error.message}", "check OPENAI_BASE_URL")]
    except UpstreamError as error:
        return [
            fail(
                "upstream",
                f"{address}: {error.message}",
                "check OPENAI_BASE_URL and OPENAI_API_KEY",
            )
        ]
    except SettingsInvalid as error:
        return [fail("upstream", str(error), "correct the value, or unset it")]
    offered = [str(model["id"]) for model in models]
    return [
        ok("upstream", f"{address} answers; its profile is {client.profile.name}"),
        findings.model_finding(settings.openai_model, offered),
    ]


def _local_model(settings: Settings) -> Finding:
    from tickertape.cli.up.model_weights import LocalModelError, find_weights

    try:
        weights = find_weights(settings)
    except LocalModelError as error:
        return fail("upstream", "the local model cannot run", str(error))
    starts = f"`tickertape up` starts the local model {weights.path.name}"
    if not weights.has_chat_template:
        return warn("upstream", f"{starts}, which has no chat template", "use an instruct model")
    return ok("upstream", f"{starts}: {weights.slots} slots of {weights.context_tokens} tokens")


async def listening(host: str, port: int, *, limit_s: float = 2.0) -> Finding:
    """Whether the API can listen on this address, or already does and answers in `limit_s`."""
    from tickertape.cli.up.ports import find_port

    try:
        find_port(host, port)
    except CommandFailed as error:
        async with AsyncClient(url_of(host, port), "") as client:
            if await client.is_ready(limit_s):
                return ok("port", f"Tickertape already runs at {url_of(host, port)}")
        return fail("port", str(error), "choose another port with --port")
    return ok("port", f"{host} port {port} is free")


def access(settings: Settings, host: str) -> Iterator[Finding]:
    """Findings about the callers that the API accepts."""
    from tickertape.api.edge.listed_keys import needs_keys

    try:
        is_closed = needs_keys(settings)
    except SettingsInvalid as error:
        yield fail("keys", str(error), "correct TICKERTAPE_API_KEYS")
        return
    if is_closed:
        yield ok("keys", "every caller needs a key")
    elif is_loopback(host):
        yield ok("keys", "no keys: any program on this machine can call the API")
    else:
        yield fail("keys", f"no keys, and {host} is not loopback", "set TICKERTAPE_API_KEYS")


def roles(settings: Settings) -> Iterator[Finding]:
    """Findings about the role files."""
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
    """Whether the embedded server can write to its data folder."""
    folder = data_dir.absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        return fail("data", f"{folder} is not writable", "choose another folder with --data-dir")
    return findings.disk_finding(str(folder), shutil.disk_usage(existing).free)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
