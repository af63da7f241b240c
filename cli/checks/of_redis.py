"""Pure: judges what the Redis of REDIS_URL said."""

from collections.abc import Iterator, Mapping
from typing import Any

from tickertape.broker.agreement import refusal_of, settings_of_api, settings_of_worker
from tickertape.broker.connections import MAX_COMMAND_CONNECTIONS
from tickertape.broker.contact import Contact, Trouble
from tickertape.broker.partition_map import PartitionMap
from tickertape.broker.queue_depth import QueueDepth
from tickertape.broker.server_facts import ServerFacts
from tickertape.cli.checks.cases import CASES
from tickertape.cli.checks.finding import OF_WORKER, Finding, Role, ok
from tickertape.runtime.settings import Settings

_MB = 1_000_000
# One API and one worker, each with its pool and the connections beside it.
_NEEDED_CLIENTS = 2 * (MAX_COMMAND_CONNECTIONS + 8)
# Of a worker's first wait for new work; a longer one means that no worker asks.
_NO_WORKER_S = 15.0
_MOST_CLOCK_DIFFERENCE_S = 5.0
# The soft limit of Redis' own default.
_SMALLEST_PUBSUB_BUFFER = 8 * 1024 * 1024


def unreachable(contact: Contact, address: str) -> Finding:
    """The finding for a server that could not be asked at all."""
    trouble, words = contact
    scheme = (
        "a server without TLS needs redis://"
        if address.startswith("rediss")
        else "a server with TLS needs rediss://"
    )
    name = "redis-writes" if trouble is Trouble.WRITES else f"redis-{trouble}"
    return CASES[name].found(address=address, words=words, scheme=scheme)


def server_findings(
    facts: ServerFacts, settings: Settings, role: Role, address: str
) -> Iterator[Finding]:
    """Everything that is wrong with a server that answers, and what is good to know about it."""
    named = f", the Sentinels name {facts.primary}" if facts.primary else ""
    yield ok("redis-answers", f"{address} answers{named}")
    if facts.missing_rights:
        yield CASES["redis-rights"].found(missing=", ".join(facts.missing_rights))
    yield from _info_findings(facts.info, settings, address)
    if role in OF_WORKER and facts.info and int(facts.info.get("aof_enabled", 0)):
        yield from _erasure_findings(facts.may_rewrite, settings)
    yield from _write_findings(facts, address)
    yield from _buffer_findings(facts.config)
    if facts.partitions is not None:
        yield from partition_findings(settings.partitions, facts.partitions)
    yield from _agreement_findings(facts, settings, role)
    if facts.newer:
        yield CASES["redis-newer"].found(waiting=facts.newer)
    if facts.queue is not None:
        yield from _queue_findings(facts.queue)
    for node, partitions in sorted(facts.owners.items()):
        numbers = ", ".join(map(str, partitions))
        yield ok("redis-node", f"{node} has the partitions {numbers}")


def _info_findings(
    info: Mapping[str, Any] | None, settings: Settings, address: str
) -> Iterator[Finding]:
    if info is None:
        yield CASES["redis-unasked"].found()
        return
    # For old clients, Valkey reports an old Redis version in addition to the Valkey version.
    valkey = info.get("valkey_version")
    version = f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version', '?')}"
    yield ok("redis-version", version)
    if not int(info.get("aof_enabled", 0)):
        yield CASES["redis-aof"].found()
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        yield CASES["redis-eviction"].found(policy=policy)
    if str(info.get("role", "master")) != "master":
        primary = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
        yield CASES["redis-replica"].found(address=address, primary=primary)
    yield from _memory_findings(info, settings)
    yield from _client_findings(info)


def _erasure_findings(may_rewrite: bool | None, settings: Settings) -> Iterator[Finding]:  # noqa: FBT001  # a fact
    if may_rewrite is None:
        return  # a start does not ask
    if settings.rewrite_aof_s == 0:
        yield CASES["redis-erased"].found()
    elif not may_rewrite:
        yield CASES["redis-rewrite"].found(seconds=f"{settings.rewrite_aof_s:g}")


def _memory_findings(info: Mapping[str, Any], settings: Settings) -> Iterator[Finding]:
    limit, used = int(info.get("maxmemory", 0)), int(info.get("used_memory", 0))
    if not limit:
        return
    if used >= limit:
        yield CASES["redis-full"].found(used=_megabytes(used), limit=_megabytes(limit))
    if limit < settings.queue_bytes:
        yield CASES["redis-memory"].found(
            limit=_megabytes(limit), queue=_megabytes(settings.queue_bytes)
        )


def _client_findings(info: Mapping[str, Any]) -> Iterator[Finding]:
    limit, used = int(info.get("maxclients", 0)), int(info.get("connected_clients", 0))
    if limit and limit - used < _NEEDED_CLIENTS:
        yield CASES["redis-maxclients"].found(limit=limit, used=used, needed=_NEEDED_CLIENTS)


def _write_findings(facts: ServerFacts, address: str) -> Iterator[Finding]:
    refusal = facts.refusal
    if refusal is None:
        return
    if "NOREPLICAS" in refusal:
        yield CASES["redis-replicas"].found(address=address, words=refusal)
    elif "READONLY" not in refusal or facts.info is None:
        yield CASES["redis-writes"].found(address=address, words=refusal)


def _buffer_findings(config: Mapping[str, str]) -> Iterator[Finding]:
    words = config.get("client-output-buffer-limit", "").split()
    if "pubsub" not in words:
        return
    hard = int(words[words.index("pubsub") + 1])
    if 0 < hard < _SMALLEST_PUBSUB_BUFFER:
        yield CASES["redis-pubsub-buffer"].found(limit=hard)


def partition_findings(wanted: int, used: PartitionMap) -> Iterator[Finding]:
    """Compares TICKERTAPE_PARTITIONS with the partition map, and shows what is not settled."""
    if used.partitions != wanted:
        yield CASES["redis-partitions"].found(wanted=wanted, used=used.partitions)
    if used.next is not None:
        yield CASES["redis-unfinished"].found(next=used.next)
    if used.old:
        kept = ", ".join(map(str, used.old))
        yield ok("redis-maps", f"the maps of {kept} partitions are kept beside the present one")


def _agreement_findings(facts: ServerFacts, settings: Settings, role: Role) -> Iterator[Finding]:
    if (refusal := refusal_of(facts.agreed)) is not None:
        yield CASES["redis-format"].found(problem=refusal)
    if role == "deliver":
        return
    compared = settings_of_api(settings) if role == "api" else settings_of_worker(settings)
    for name, here in compared.items():
        if (agreed := facts.agreed.get(name, here)) != here:
            yield CASES["redis-agreement"].found(name=name, here=here, agreed=agreed)


def _queue_findings(queue: QueueDepth) -> Iterator[Finding]:
    silent_s = queue.now_s - (queue.claimed_s or 0)
    if queue.waiting and silent_s > _NO_WORKER_S:
        yield CASES["redis-no-worker"].found(waiting=queue.waiting)


def clock_finding(ahead_s: float) -> Finding | None:
    """Compares the clock of this machine with that of Redis; `ahead_s` is ours minus theirs."""
    if abs(ahead_s) <= _MOST_CLOCK_DIFFERENCE_S:
        return None
    direction = "ahead of" if ahead_s > 0 else "behind"
    return CASES["clock-off"].found(off=f"{abs(ahead_s):.0f}", direction=direction)


def _megabytes(number: int) -> str:
    return f"{number / _MB:.0f}"
