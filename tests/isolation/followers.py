"""Readers of conversations that never end by themselves, and rights that are taken from them."""

import asyncio
import re
import time
from collections.abc import Sequence

import msgspec

from tests.chaos.system import System
from tests.isolation.desk import Desk, Reading
from tests.isolation.marks import NATIVE, Checked
from tests.isolation.people import CONVERSATIONS, TENANTS, Headers, Person
from tests.support.wait import wait_until

_TICKET = re.compile(rb'"ticket":"(tk1_[^"]+)"')
_ENDS_WITHIN_S = 5.0
# An API process looks at its permits twice a second, on a machine that is busy.
_LATE_S = 10.0
_REVOKED = 0.1
_HOLDS_S = 4.0
_HOLDS_LINK_S = 2.0
_BEGINS_WITHIN_S = 20


async def follow_by_link(desk: Desk, person: Person, conversation: str) -> None:
    """A friend who follows a conversation with a link that its owner shares, and stops sharing."""
    base = f"/conversations/{conversation}"
    body = {"rights": "read", "ttl_s": 4, "renewable_s": 3600}
    while True:
        answer = await desk.call_as(person, "POST", f"{base}/ticket", body, good={200})
        if answer.status != 200:
            await asyncio.sleep(0.5)
            continue
        ticket = msgspec.json.decode(answer.body)["ticket"]
        person.add("link", ticket)
        async with asyncio.TaskGroup() as group:
            path = f"{base}/stream?ticket={ticket}"
            name = f"the friend of {person.name} by a link to {conversation}"
            checked = Checked(person.prefix, NATIVE)
            lasts_s = desk.rng.uniform(3, 12)
            reading = group.create_task(desk.read(name, checked, path, {}, lasts_s=lasts_s))
            if desk.rng.random() < _REVOKED:
                await asyncio.sleep(_HOLDS_LINK_S)
                await _stop_sharing(desk, person, base, name, reading)


async def _stop_sharing(
    desk: Desk, person: Person, base: str, name: str, reading: "asyncio.Task[Reading]"
) -> None:
    revoked = await desk.call_as(person, "POST", f"{base}/tickets/revoke", good={204, 429})
    if revoked.status == 204:
        desk.record.counts["links revoked"] += 1
        await _ends(desk, [reading], name)


async def follow_all(desk: Desk, person: Person) -> None:
    """All conversations of a person over one connection, as the tabs of a browser."""
    followed = [{"conversation_id": each} for each in CONVERSATIONS]
    while True:
        checked = Checked(person.prefix, NATIVE)
        await desk.read(
            f"{person.name} by /streams",
            checked,
            "/streams",
            person.headers(desk.rng),
            method="POST",
            body={"conversations": followed},
            lasts_s=desk.rng.uniform(3, 12),
        )
        await asyncio.sleep(desk.rng.uniform(0, 0.5))


async def follow_with_keys(desk: Desk, system: System, people: list[Person]) -> None:
    """Keys are added, used and revoked. Their readers must end soon."""
    while True:
        tenant = desk.rng.choice(TENANTS)
        key = await _printed(system, ["keys", "add", tenant], "tt_")
        key_id = await _key_id(system)
        async with asyncio.TaskGroup() as group:
            readers = []
            for person in [each for each in people if each.tenant == tenant]:
                await _is_known(desk, person.with_key(key))
                readers.append(group.create_task(_follow_with(desk, person, key)))
            await asyncio.sleep(_HOLDS_S)
            await _printed(system, ["keys", "revoke", key_id], key_id)
            desk.record.counts["keys revoked"] += 1
            await _ends(desk, readers, f"a reader with a revoked key of {tenant}")
        answer = await desk.call("GET", "/chat", people[0].with_key(key))
        if answer.status == 200:
            desk.record.opened.append(f"a revoked key of {tenant} lists requests")


async def _follow_with(desk: Desk, person: Person, key: str) -> None:
    checked = Checked(person.prefix, NATIVE)
    path = f"/conversations/{desk.rng.choice(CONVERSATIONS)}/stream"
    await desk.read(f"{person.name} by a new key", checked, path, person.with_key(key))


async def _ends(desk: Desk, readers: "Sequence[asyncio.Task[object]]", name: str) -> None:
    began_s = time.monotonic()
    _, going_on = await asyncio.wait(readers, timeout=_ENDS_WITHIN_S + _LATE_S)
    took_s = time.monotonic() - began_s
    desk.record.slowest_end_s = max(desk.record.slowest_end_s, took_s)
    for reader in going_on:
        desk.record.outlived.append(f"{name} reads on after {took_s:.1f} s")
        reader.cancel()


async def _is_known(desk: Desk, headers: Headers) -> None:
    async def is_known() -> bool:
        return (await desk.call("GET", "/roles", headers)).status == 200

    await wait_until(is_known, timeout_s=_BEGINS_WITHIN_S, description="a new key is known")


async def _printed(system: System, argv: list[str], word: str) -> str:
    """The last line with a word that a command printed."""
    command = system.command(argv)
    command.start()
    await command.ended()
    return [line for line in command.lines() if word in line][-1]


async def _key_id(system: System) -> str:
    printed = await _printed(system, ["keys", "list"], "never used")
    return printed.split()[0]
