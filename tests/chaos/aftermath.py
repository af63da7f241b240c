"""After the last fault: wait until the system is at rest, then gather its history."""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import redis.asyncio

from tests.broker.snapshot import take_snapshot
from tests.chaos.client import Client
from tests.chaos.functions import read_ledger
from tests.chaos.history import Accepted, Call, Final, History
from tests.chaos.members import Member
from tests.chaos.system import System
from tests.chaos.traffic import Traffic
from tests.support.sse import TERMINAL_EVENTS
from tests.support.wait import wait_until
from tickertape.broker.connections import Connections
from tickertape.broker.log import Logs

_DRAIN_S = 20


async def wait_for_rest(
    system: System, traffic: Traffic, history: History, patience_s: float
) -> None:
    """Wait until no request is running. A request that never ends shows in the verdict."""
    # Wait for every call first: a repeated call may have its submit accepted only now.
    await traffic.calls_answered(patience_s)
    async with contextlib.aclosing(Connections(system.engine.url)) as connections:
        await _wait_for_ends(system, connections, patience_s)
        await traffic.submit_again(_accepted(history) - await _kept(system, connections, history))
        await _wait_for_ends(system, connections, patience_s)
        kept = await _kept(system, connections, history)
    await traffic.readers_told(patience_s)
    with contextlib.suppress(AssertionError):
        await wait_until(
            lambda: all(_has_seen_all(history, stream, kept) for stream in _followed(history)),
            timeout_s=patience_s,
            description="the followers to see all of their conversations",
        )


async def _wait_for_ends(system: System, connections: Connections, patience_s: float) -> None:
    async def is_at_rest() -> bool:
        await asyncio.sleep(0.2)
        return await _count_running(system, connections) == 0

    with contextlib.suppress(AssertionError):
        await wait_until(is_at_rest, timeout_s=patience_s, description="all to end")


async def _count_running(system: System, connections: Connections) -> int:
    keys = [system.engine.keys.load(number) for number in range(system.engine.partitions)]
    counts = [await connections.ask("HGET", key, "count") for key in keys]
    return sum(int(count or 0) for count in counts)


async def _kept(system: System, connections: Connections, history: History) -> set[str]:
    """The accepted requests that Redis still has; a fail-over may lose some."""
    keys = system.engine.keys
    return {id_ for id_ in _accepted(history) if await connections.ask("EXISTS", keys.request(id_))}


def _accepted(history: History) -> set[str]:
    return {accepted.request_id for accepted in history.accepted}


async def gather_history(
    system: System, clients: list[Client], traffic: Traffic, history: History
) -> None:
    """Read the final state, then end every process in order and record how it ends."""
    for subscriber in history.subscribers:
        if subscriber.conversation is not None:
            subscriber.has_ended = True
            subscriber.ended_s = time.monotonic()
        elif not subscriber.has_ended:
            history.odd.append(f"{subscriber.name} of {subscriber.request_id} was left hanging")
    await traffic.stop()
    async with contextlib.aclosing(Connections(system.engine.url)) as connections:
        logs = Logs(connections)
        by_tenant = {client.tenant: client for client in clients}
        for accepted in {submit.request_id: submit for submit in history.accepted}.values():
            final = await _final(system, connections, logs, by_tenant[accepted.tenant], accepted)
            if final is not None:
                history.finals[accepted.request_id] = final
    history.calls = await _journal(clients[0], system.upstream_url)
    history.steps = list(read_ledger(system.directory))
    await asyncio.gather(*(_end(member, history) for member in system.members))
    for partition in range(system.engine.partitions):
        async with _server_of(system, partition) as client:
            tag = system.engine.keys.tag(partition)
            history.at_rest.append(await take_snapshot(client, tag))
    for member in system.members:
        history.odd += member.complaints()


async def _final(
    system: System, connections: Connections, logs: Logs, client: Client, accepted: Accepted
) -> Final | None:
    stored = await connections.ask("HGETALL", system.engine.keys.request(accepted.request_id))
    if not stored:
        return None
    answer = await client.call("GET", f"/chat/{accepted.request_id}")
    entries = await logs.entries(accepted.request_id)
    plain = {name.decode(): value.decode() for name, value in stored.items()}
    return Final(entries, plain, answer.body)


async def _journal(client: Client, upstream_url: str) -> list[Call]:
    async with client.session.get(upstream_url.replace("/v1", "/journal")) as answer:
        records = await answer.json()
    numbers: Counter[str] = Counter()
    calls = []
    for record in records:
        messages = record["body"]["messages"]
        asked = max(n for n, message in enumerate(messages) if message["role"] == "user")
        tag = _tag(messages[asked]["content"])
        numbers[tag] += 1
        calls.append(_call(record, tag, numbers[tag], messages[:asked]))
    return calls


def _call(record: dict[str, Any], tag: str, number: int, memory: list[dict[str, str]]) -> Call:
    questions = [_tag(message["content"]) for message in memory[::2]]
    answers = [message["content"] for message in memory[1::2]]
    return Call(
        tag,
        number,
        record["started_at_s"],
        record["deltas_sent"],
        record["outcome"],
        record["closed_at_s"],
        tuple(zip(questions, answers, strict=True)),
    )


def _tag(question: str) -> str:
    try:
        return str(msgspec.json.decode(question)["tag"])
    except msgspec.DecodeError:
        # The call that sent the first submit with this key records its acceptance.
        return question


async def _end(member: Member, history: History) -> None:
    await wait_until(lambda: member.has_begun, description=f"{member.name} to handle signals")
    member.signal(signal.SIGTERM)
    code = await member.ended(_DRAIN_S)
    if code != 0:
        history.odd.append(f"{member.name} was stopped at rest, and ended with {code}")


def _followed(history: History) -> list[tuple[str, str]]:
    return [(s.tenant, s.conversation) for s in history.subscribers if s.conversation is not None]


def _has_seen_all(history: History, followed: tuple[str, str], kept: set[str]) -> bool:
    asked = {a.request_id for a in history.accepted if (a.tenant, a.conversation) == followed}
    asked &= kept
    followers = [s for s in history.subscribers if (s.tenant, s.conversation) == followed]
    return all(
        asked <= {e.data["request_id"] for e in follower.events if e.kind in TERMINAL_EVENTS}
        for follower in followers
    )


@contextlib.asynccontextmanager
async def _server_of(system: System, partition: int) -> AsyncIterator[redis.asyncio.Redis]:
    client = redis.asyncio.Redis.from_url(system.engine.server_url(partition), protocol=2)
    try:
        yield client
    finally:
        await client.aclose()
