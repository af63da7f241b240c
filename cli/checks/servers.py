"""Asks Redis and the upstream for what the pure checks judge. Changes nothing in them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from tickertape.broker.connections import TIMING, Connections, ConnectionTiming
from tickertape.broker.contact import trouble_of
from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.broker.server_facts import ServerFacts, read_server_facts
from tickertape.cli.checks import of_table
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import Finding, Role, ok
from tickertape.cli.checks.of_redis import clock_finding, server_findings, unreachable
from tickertape.cli.checks.of_upstream import model_finding
from tickertape.cli.up.environment import needs_model
from tickertape.runtime.addresses import hide_secrets
from tickertape.runtime.settings import Settings

_ANSWER_S = 5.0
_OPENAI = "https://api.openai.com/v1"
_REFUSED_KEY = {401, 403}

ReadFacts = Callable[[Connections], Awaitable[ServerFacts]]


async def redis(
    settings: Settings,
    role: Role = "up",
    *,
    read: ReadFacts = read_server_facts,
    limit_s: float = _ANSWER_S,
    timing: ConnectionTiming = TIMING,
) -> list[Finding]:
    """Findings about the server of REDIS_URL, or the one that `up` would start."""
    url = settings.redis_url
    if url is None:
        return [_embedded_redis() if role == "up" else CASES["redis-unset"].found()]
    address = hide_secrets(url)
    try:
        connections = Connections(
            url, timing, namespace=settings.namespace, partitions=settings.partitions
        )
    except SettingsInvalid as error:
        return [CASES["redis-url"].found(problem=str(error))]
    try:
        async with asyncio.timeout(limit_s):
            facts = await read(connections)
        return [*server_findings(facts, settings, role, address), *_clock(facts)]
    except SettingsInvalid as error:
        return [CASES["redis-kind"].found(address=address, problem=str(error))]
    except (Unavailable, TimeoutError) as error:
        return [unreachable(trouble_of(error), address)]
    finally:
        await connections.aclose()


def _clock(facts: ServerFacts) -> list[Finding]:
    if facts.queue is None:
        return []
    found = clock_finding(time.time() - facts.queue.now_s)
    return [] if found is None else [found]


def _embedded_redis() -> Finding:
    from tickertape.cli.up.data_dir import EmbeddedServerError
    from tickertape.cli.up.valkey import find_server

    try:
        return ok("redis-embedded", f"`tickertape up` starts {find_server()}")
    except EmbeddedServerError as error:
        return CASES["redis-no-server"].found(reason=str(error))


async def upstream(
    settings: Settings, role: Role = "up", *, limit_s: float = _ANSWER_S
) -> list[Finding]:
    """Findings about the server of OPENAI_BASE_URL, or the model that `up` would start."""
    if role == "up" and needs_model(settings):
        return [_local_model(settings)]
    if settings.upstreams is not None:
        return await of_table.findings(settings.upstreams, settings.openai_model, limit_s)
    if not settings.has_upstream:
        return [CASES["upstream-unset"].found()]
    address = settings.openai_base_url or _OPENAI
    from tickertape.worker.upstream.errors import (
        NoModelList,
        Rejected,
        Stalled,
        Unreachable,
        UpstreamError,
    )

    shown = hide_secrets(address)
    try:
        profile, offered = await _models(settings, address, limit_s)
    except SettingsInvalid as error:
        return [CASES["upstream-proxy"].found(problem=str(error))]
    except UpstreamError as error:
        names: dict[type[UpstreamError], str] = {
            Unreachable: "away", Stalled: "silent", Rejected: "key", NoModelList: "no-list",
        }  # fmt: skip
        name = f"upstream-{names.get(type(error), 'error')}"
        if name == "upstream-key" and error.status not in _REFUSED_KEY:
            name = "upstream-error"
        longer = f"{address}/v1"
        if name == "upstream-no-list" and await _lists_models(settings, longer, limit_s):
            name = "upstream-path"
        facts = {"address": shown, "problem": error.message, "longer": hide_secrets(longer)}
        return [CASES[name].found(**facts)]
    return [
        ok("upstream-answers", f"{shown} answers; its profile is {profile}"),
        model_finding(settings.openai_model, offered),
    ]


async def _models(settings: Settings, address: str, limit_s: float) -> tuple[str, list[str]]:
    """The profile of the upstream and its models; raises UpstreamError, SettingsInvalid."""
    from tickertape.worker.upstream.client import Upstream

    key = settings.openai_api_key
    async with Upstream(
        address,
        key.get_secret_value() if key else None,
        profile=settings.upstream_profile,
        models_limit_s=limit_s,
    ) as client:
        models = await client.list_models()
        return client.profile.name, [str(model["id"]) for model in models]


async def _lists_models(settings: Settings, address: str, limit_s: float) -> bool:
    from tickertape.worker.upstream.errors import UpstreamError

    if urlsplit(address).path.endswith("/v1/v1"):
        return False
    try:
        return bool((await _models(settings, address, limit_s))[1])
    except UpstreamError:
        return False


def _local_model(settings: Settings) -> Finding:
    from tickertape.cli.up.model_weights import LocalModelError, find_weights

    try:
        weights = find_weights(settings)
    except LocalModelError as error:
        return CASES["upstream-local"].found(reason=str(error))
    starts = f"`tickertape up` starts the local model {weights.path.name}"
    if not weights.has_chat_template:
        return CASES["upstream-template"].found(model=weights.path.name)
    return ok(
        "upstream-local", f"{starts}: {weights.slots} slots of {weights.context_tokens} tokens"
    )
