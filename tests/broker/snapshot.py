"""All of a Redis at one moment, as plain values: what tests compare and check invariants on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

# A value of another type makes the read fail, so this holds the types to their design as well.
_READ: tuple[tuple[str, tuple[str | int, ...]], ...] = (
    ("(req:.*|minute:[^:]*|seats:.*|rates:.*|exchange:.*|kept:.*|conv:[^:]*)", ("HGETALL",)),
    ("(load|busy|crowd|owed|weights|erasures|agreement)", ("HGETALL",)),
    ("(access|settled|keys|key_ids|key_uses|outboxed|record:.*)", ("HGETALL",)),
    ("(log:.*|dead|unsettled|conv:[^:]*:turns|outbox:.*)", ("XRANGE", "-", "+")),
    (
        "(wait:.*|users:.*|given_up:.*|ring(:.*)?|suspect(:.*)?|wake|conv:[^:]*:wait)",
        ("LRANGE", 0, -1),
    ),
    (
        "(kept|aging|running|delayed|uncompacted|revoked|repeats|erased|given_up)",
        ("ZRANGE", 0, -1, "WITHSCORES"),
    ),
    ("((newer|idle)(:.*)?|index:.*|expiry:.*|convs:.*)", ("ZRANGE", 0, -1, "WITHSCORES")),
    ("pools|tenants|tenant:.*", ("SMEMBERS",)),
    (
        "(claim:.*|minute:[^:]*:.*|idem:.*|tries:.*|rewriting|partitions|map|epoch|models|models_fault|upstream)",
        ("GET",),
    ),
)

# What processes write about themselves. It changes at any time, whatever happens to requests.
_REPORTS = re.compile("fleet|report:.*|announced(:.*)?|watch:.*", re.DOTALL)

_GONE = -2


@dataclass(frozen=True)
class Stored:
    """The value of a key in Python's types, all text decoded, and whether it has a TTL."""

    value: Any
    expires: bool


@dataclass(frozen=True)
class Snapshot:
    """Keys by their name without the hash tag of the partition."""

    keys: dict[str, Stored]

    def get(self, name: str) -> Any:
        """The value of a key, None if there is none."""
        return self.keys[name].value if name in self.keys else None

    def list(self, name: str) -> list[Any]:
        """The words of a list, the pairs of a sorted set or of a stream; empty if there is none."""
        return list(self.get(name) or [])

    def hash(self, name: str) -> dict[str, str]:
        """A hash, empty if there is none."""
        return dict(self.get(name) or {})

    def named(self, prefix: str) -> Iterator[tuple[str, Any]]:
        """What follows the prefix, and the value, of each key that begins with it."""
        for name, stored in self.keys.items():
            if name.startswith(prefix):
                yield name.removeprefix(prefix), stored.value


async def take_snapshot(client: Redis, tag: str = "{p0}:") -> Snapshot:
    """Read every key of a partition; the server must be at rest for it to be one moment.

    Reports of workers and API processes are left out.
    """
    asked = client.pipeline(transaction=False)
    found = (_plain(name).removeprefix(tag) for name in await client.keys(tag + "*"))
    names = sorted(name for name in found if not _REPORTS.fullmatch(name))
    for name in names:
        command, *arguments = _how_to_read(name)
        asked.execute_command("PTTL", tag + name)
        asked.execute_command(command, tag + name, *arguments)
    replies = await asked.execute()
    return Snapshot(
        {
            name: Stored(_value(name, value), ttl_ms >= 0)
            for name, ttl_ms, value in zip(names, replies[::2], replies[1::2], strict=True)
            if ttl_ms != _GONE  # it expired since its name was read
        }
    )


def _how_to_read(name: str) -> tuple[str | int, ...]:
    for pattern, command in _READ:
        if re.fullmatch(pattern, name, re.DOTALL):
            return command
    raise AssertionError(f"no key is called {name!r}")


def _value(name: str, value: Any) -> Any:
    if _how_to_read(name)[0] == "ZRANGE":
        # Two shapes: pairs, or members and scores in turn.
        is_flat = bool(value) and not isinstance(value[0], list)
        rows = zip(value[::2], value[1::2], strict=True) if is_flat else value
        return [(_plain(member), int(float(score))) for member, score in rows]
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "surrogateescape")
        case dict():
            return {_plain(key): _plain(inner) for key, inner in value.items()}
        case set():
            return {_plain(inner) for inner in value}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return value
