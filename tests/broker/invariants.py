"""Pure: what is true of a partition after every single script, whatever happened before."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from tests.broker.snapshot import Snapshot
from tickertape.broker.codec import Cursor, Entry, decode
from tickertape.broker.kinds import OPENERS, TERMINALS
from tickertape.broker.pools import after_name, in_pool
from tickertape.broker.principals import account_in_turn, tenant_of
from tickertape.broker.segments import Segment, entries_of

_WAKE_LIMIT = 64


def violations(now: Snapshot) -> list[str]:
    """Every invariant that does not hold, in words."""
    return [
        *_ring(now),
        *_places(now),
        *_tenants_and_load(now),
        *_kept(now),
        *_conversations(now),
        *_ages(now),
        *(problem for id_, state in states(now).items() for problem in _log(now, id_, state)),
    ]


def keys_without_ttl(now: Snapshot) -> set[str]:
    """Keys that would stay without limit although every request is over."""
    bounded = {
        "load",
        "weights",
        "dead",
        "partitions",
        "map",
        "epoch",
        "wake",
        "idle",
        "pools",
        "agreement",
        "uncompacted",
        # RECOUNT drops a tenant from these two when all that it keeps has expired.
        "kept",
        "aging",
        "erasures",
        "unsettled",
        "settled",
        "outboxed",
        # Empty when all is handed on: Redis keeps a stream without entries.
        *(name for name in ("outbox:webhooks", "outbox:history") if not now.list(name)),
    }
    names = {name for name, stored in now.keys.items() if not stored.expires}
    return {name for name in names if not name.startswith("idle:")} - bounded


def states(now: Snapshot) -> dict[str, str]:
    """The state of each request."""
    return {id_: str(stored["state"]) for id_, stored in now.named("req:")}


def log_of(now: Snapshot, id_: str) -> list[Entry]:
    """The decoded log of a request."""
    segments = [
        Segment(Cursor.parse(entry_id), _bytes(fields["e"]), _bytes(fields.get("p", "")))
        for entry_id, fields in now.list(f"log:{id_}")
    ]
    return [decode(*stored) for segment in segments for stored in entries_of(segment)]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def pools(now: Snapshot) -> list[str]:
    """The pool of the upstream, and all others with requests that are not over."""
    found = {stored.get("pool", "") for _, stored in now.named("req:")}
    return sorted({"", *found, *(now.get("pools") or ())})


def _ring(now: Snapshot) -> Iterator[str]:
    for pool in pools(now):
        ring = Counter(now.list(f"ring{after_name(pool)}"))
        waiting = {tenant for tenant, _ in _of_pool(now, "wait:", pool)}
        if ring != Counter({account_in_turn(tenant) for tenant in waiting}):
            yield f"the ring of {pool!r} is {dict(ring)}, and {waiting} have waiting requests"
        users = {tenant for tenant in waiting if "~" in tenant}
        in_turn = Counter(user for _, line in _of_pool(now, "users:", pool) for user in line)
        if in_turn != Counter(users):
            yield f"the users in turn are {dict(in_turn)}, and {users} have waiting requests"
        is_known = pool in {"", *(now.get("pools") or ())}
        if not is_known and (waiting or now.list(f"suspect:{pool}") or now.list(f"newer:{pool}")):
            yield f"{pool!r} has waiting requests, and is not among the pools"
    if len(now.list("wake")) > _WAKE_LIMIT:
        yield "there are more wake tokens than the limit"


def _of_pool(now: Snapshot, prefix: str, pool: str) -> Iterator[tuple[str, list[str]]]:
    """The lists of the owners in a pool, by owner."""
    for name, line in now.named(prefix):
        of, _, owner = name.rpartition("|")
        if of == pool:
            yield owner, line


def _places(now: Snapshot) -> Iterator[str]:
    """Each request that is not over is in exactly one place, the one of its state."""
    found: dict[str, list[str]] = {}
    for id_, place in _found(now):
        found.setdefault(id_, []).append(place)
    for id_, state in states(now).items():
        stored = now.hash(f"req:{id_}")
        of = after_name(stored.get("pool", ""))
        waiting = f"wait:{in_pool(stored.get('pool', ''), stored['tenant'])}"
        places = {"queued": [[waiting], [f"suspect{of}"], [f"newer{of}"]], "held": [["held"]]}
        expected = places.get(state, [[]] if state in TERMINALS else [[state]])
        if (places_found := found.pop(id_, [])) not in expected:
            yield f"{id_} is {state}, and was found in {places_found}"
    if found:
        yield f"{found} have no hash"


def _found(now: Snapshot) -> Iterator[tuple[str, str]]:
    for tenant, ids in now.named("wait:"):
        yield from ((id_, f"wait:{tenant}") for id_ in ids)
    for of in map(after_name, pools(now)):
        yield from ((id_, f"suspect{of}") for id_ in now.list(f"suspect{of}"))
        yield from ((id_, f"newer{of}") for id_, _ in now.list(f"newer{of}"))
    for place in ("running", "delayed"):
        yield from ((id_, place) for id_, _ in now.list(place))
    for name, ids in now.named("conv:"):
        yield from ((id_, "held") for id_ in (ids if name.endswith(":wait") else ()))


def _tenants_and_load(now: Snapshot) -> Iterator[str]:
    in_flight: dict[str, set[str]] = {}
    size = 0
    for id_, state in states(now).items():
        if state not in TERMINALS:
            stored = now.hash(f"req:{id_}")
            in_flight.setdefault(stored["tenant"], set()).add(id_)
            size += int(stored["bytes"])
    yield from _counts_of_tenants(now, in_flight)
    if dict(now.named("tenant:")) != in_flight:
        yield f"in flight are {in_flight}, not {dict(now.named('tenant:'))}"
    if set(now.get("tenants") or ()) != {*in_flight}:
        yield f"tenants with requests in flight are {set(in_flight)}, not {now.get('tenants')}"
    load = now.hash("load")
    counted = int(load.get("count", 0)), int(load.get("bytes", 0))
    if counted != (sum(map(len, in_flight.values())), size):
        yield f"the load is counted as {counted}"


def _counts_of_tenants(now: Snapshot, in_flight: dict[str, set[str]]) -> Iterator[str]:
    busy, owed, crowd = Counter[str](), Counter[str](), Counter[str]()
    for tenant, ids in in_flight.items():
        stored = [now.hash(f"req:{id_}") for id_ in ids]
        busy[tenant_of(tenant)] += sum(each["state"] == "running" for each in stored)
        owed[tenant_of(tenant)] += sum(int(each["bytes"]) for each in stored)
        crowd[tenant_of(tenant)] += len(ids) if "~" in tenant else 0
    for name, expected in (("busy", +busy), ("owed", +owed), ("crowd", +crowd)):
        counted = {tenant: int(count) for tenant, count in now.hash(name).items()}
        if counted != expected:
            yield f"{name} is {counted}, not {dict(expected)}"


def _kept(now: Snapshot) -> Iterator[str]:
    """What is kept of each tenant is counted once, and no key that exists is left out."""
    steps = {
        tenant: Counter({int(end): int(size) for end, size in stored.items()})
        for tenant, stored in now.named("kept:")
    }
    totals = {tenant: int(total) for tenant, total in now.list("kept")}
    if totals != {tenant: counted.total() for tenant, counted in steps.items()}:
        yield f"kept is {totals}, and by its ends {steps}"
    firsts = {tenant: int(first) for tenant, first in now.list("aging")}
    if {*firsts} != {*steps} or any(firsts[each] > 1000 * min(steps[each]) for each in steps):
        yield f"aging is {firsts}, and the ends are {steps}"
    found: dict[str, Counter[int]] = {}
    for name, stored in now.keys.items():
        if isinstance(stored.value, dict) and "stored" in stored.value:
            end, size, tenant = stored.value["stored"].split("|")
            found.setdefault(tenant, Counter())[int(end)] += int(size)
        elif name.startswith("exchange:"):
            yield f"{name} is not counted"
    for tenant, counted in found.items():
        if not counted <= steps.get(tenant, Counter()):
            yield f"of {tenant} is kept {counted}, counted is {steps.get(tenant)}"


def _conversations(now: Snapshot) -> Iterator[str]:
    active: dict[str, list[str]] = {}
    for id_, state in states(now).items():
        conversation = now.hash(f"req:{id_}")["conv"]
        if conversation and state not in TERMINALS and state != "held":
            active.setdefault(conversation, []).append(id_)
    recorded = {
        name: [stored["active"]]
        for name, stored in now.named("conv:")
        if isinstance(stored, dict) and "active" in stored
    }
    if active != recorded:
        yield f"active in conversations are {active}, recorded are {recorded}"


def _ages(now: Snapshot) -> Iterator[str]:
    """Keys of requests that are over expire, and no others do."""
    for id_, state in states(now).items():
        stored = now.hash(f"req:{id_}")
        names = [f"req:{id_}", f"log:{id_}"]
        if (idem := stored["idem"]) and (now.get(f"idem:{idem}") or "").endswith("|" + id_):
            names.append(f"idem:{idem}")
        for name in names:
            if name in now.keys and now.keys[name].expires != (state in TERMINALS):
                yield f"{name} of a {state} request: expires is {now.keys[name].expires}"
        if ("payload" in stored) == (state in TERMINALS) and not _is_poison(now, id_):
            yield f"{id_} is {state}: is its payload kept? {'payload' in stored}"


def _is_poison(now: Snapshot, id_: str) -> bool:
    return any(fields["id"] == id_ for _, fields in now.list("dead"))


def _log(now: Snapshot, id_: str, state: str) -> Iterator[str]:
    log = log_of(now, id_)
    stored = now.hash(f"req:{id_}")
    if not log or log[0].kind != "queued" or log[0].cursor.seq != 0:
        yield f"the log of {id_} does not begin with queued"
        return
    if log[-1].cursor != Cursor(int(stored["attempt"]), int(stored["seq"])):
        yield f"the log of {id_} ends at {log[-1].cursor}, its hash says otherwise"
    n = 0
    for before, entry in pairwise(log):
        if entry.kind in OPENERS:
            n += 1
            yield from _opener(id_, before, entry, n)
        elif entry.cursor != before.cursor.next():
            yield f"{id_}: {entry.cursor} follows {before.cursor}"
    if n != int(stored["n"]):
        yield f"{id_} has {n} attempts, its hash says {stored['n']}"
    ends = [entry.kind for entry in log if entry.is_terminal]
    if ends != ([state] if state in TERMINALS else []) or (ends and not log[-1].is_terminal):
        yield f"{id_} is {state}, and its log ends with {ends}"


def _opener(id_: str, before: Entry, opener: Entry, n: int) -> Iterator[str]:
    if opener.cursor.seq != 0 or opener.cursor.attempt <= before.cursor.attempt:
        yield f"{id_}: the attempt {opener.cursor} does not follow {before.cursor}"
    if opener.data["prev"] != str(before.cursor):
        yield f"{id_}: {opener.cursor} names {opener.data['prev']} and follows {before.cursor}"
    if (opener.data["n"], opener.data["v"]) != (n, 1):
        yield f"{id_}: attempt {n} is numbered {opener.data['n']}"
