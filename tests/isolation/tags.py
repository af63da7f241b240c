"""Every token has the mark of its tenant and its user, and no reader may get another one's."""

import asyncio
import contextlib
import random
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.chaos.members import Member, preload
from tests.chaos.one_server import whole_server
from tests.chaos.system import Recipe, System, running_system
from tests.isolation.desk import BROKEN, Desk
from tests.isolation.followers import follow_all, follow_by_link, follow_with_keys
from tests.isolation.marks import foreign_marks
from tests.isolation.mixing_api import mix_callers
from tests.isolation.people import CONVERSATIONS, TENANTS, USERS, Person, listed_key_of
from tests.isolation.prying import pry
from tests.isolation.record import Record
from tests.isolation.stories import tell
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, running_issuer
from tests.support.tasks import running

_STORIES_AT_ONCE = 24
_THIEVES = 4
_DELTAS_OF_ANSWER = 300
_KILL_WORKER_EVERY_S = 8.0
_KILL_API_EVERY_S = 25.0
_LOOK_EVERY_S = 1.0


async def read_marks(directory: Path, seed: int, *, deltas: int, is_broken: bool = False) -> Record:
    """Run until so many deltas were received, and every attack was tried.

    With `is_broken`, the API mixes callers and logs.
    """
    preload()
    record = Record()
    with running_issuer() as issuer:
        recipe = Recipe(_settings(issuer), (mix_callers if is_broken else None,) * 2)
        async with (
            running_system(directory, recipe, engine=whole_server) as system,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            ) as session,
        ):
            desk = Desk(session, system.api_urls, random.Random(seed), record)
            people = [_person(issuer, tenant, user) for tenant in TENANTS for user in USERS]
            began_s = time.monotonic()
            await _run(desk, system, people, deltas)
            record.took_s = time.monotonic() - began_s
    return record


async def _run(desk: Desk, system: System, people: list[Person], deltas: int) -> None:
    calls: list[Coroutine[Any, Any, None]] = [
        *(pry(desk, people) for _ in range(_THIEVES)),
        follow_with_keys(desk, system, people),
        _look_upstream(desk, system),
        _kill(desk, system.workers, _KILL_WORKER_EVERY_S),
        _kill(desk, system.apis, _KILL_API_EVERY_S),
        *(_tell(desk, people) for _ in range(_STORIES_AT_ONCE)),
    ]
    for person in people:
        calls.append(follow_all(desk, person))
        calls += [follow_by_link(desk, person, each) for each in CONVERSATIONS]
    async with contextlib.AsyncExitStack() as stack:
        tasks = [await stack.enter_async_context(running(call)) for call in calls]
        while not desk.record.is_enough(deltas):
            done, _ = await asyncio.wait(
                tasks, timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()


async def _tell(desk: Desk, people: list[Person]) -> None:
    while True:
        await tell(desk, desk.rng.choice(people), _DELTAS_OF_ANSWER)
        await asyncio.sleep(0)


async def _kill(desk: Desk, members: list[Member], every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        member = desk.rng.choice(members)
        await member.kill()
        member.start()
        desk.record.counts[f"{member.name} killed"] += 1


async def _look_upstream(desk: Desk, system: System) -> None:
    """What reached the upstream in one call belongs to one person."""
    url = system.upstream_url.removesuffix("/v1") + "/journal"
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        try:
            async with desk.session.get(url) as answer:
                calls = msgspec.json.decode(await answer.read(), type=list[dict[str, Any]])
            async with desk.session.delete(url):
                pass
        except BROKEN:
            continue
        for call in calls:
            sent = msgspec.json.encode(call["body"])
            own = sent[sent.rfind(b"[[") :]
            own = own[: own.rfind(b".") + 1]
            for mark in foreign_marks(sent, own):
                desk.record.foreign.append(f"the model of {own!r} received {mark!r}")
        desk.record.counts["upstream calls"] += len(calls)


def _person(issuer: Issuer, tenant: str, user: str | None) -> Person:
    return Person(tenant, user, lambda: issuer.token(user, tenant), [listed_key_of(tenant)])


def _settings(issuer: Issuer) -> dict[str, str]:
    return {
        "TICKERTAPE_API_KEYS": ",".join(f"{each}:{listed_key_of(each)}" for each in TENANTS),
        "TICKERTAPE_JWT_JWKS_URL": issuer.url,
        "TICKERTAPE_JWT_ISSUER": ISSUER,
        "TICKERTAPE_JWT_AUDIENCE": AUDIENCE,
        "TICKERTAPE_ADDRESS_CONNECTIONS": "0",
        "TICKERTAPE_TENANT_LIMIT": "100",
        "TICKERTAPE_RETENTION_S": "60",
        "TICKERTAPE_CONVERSATION_TURNS": "20",
        "TICKERTAPE_CONTEXT_TOKENS": "4096",
        "TICKERTAPE_LEASE_S": "2",
        "TICKERTAPE_STALL_S": "20",
        "TICKERTAPE_HEARTBEAT_S": "5",
    }
