"""All of a Redis at one moment, as plain values: what tests compare and check invariants on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

_READ = {
    b"string": ("GET",),
    b"list": ("LRANGE", 0, -1),
    b"hash": ("HGETALL",),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


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
    """Read every key of a partition; the server must be at rest for it to be one moment."""
    names = [name async for name in client.scan_iter(match=tag + "*", count=1000)]
    asked = client.pipeline(transaction=False)
    for name in names:
        asked.execute_command("TYPE", name)
        asked.execute_command("PTTL", name)
    facts = await asked.execute()
    for name, kind in zip(names, facts[::2], strict=True):
        command, *arguments = _READ[kind]
        asked.execute_command(command, name, *arguments)
    values = await asked.execute()
    return Snapshot(
        {
            name.decode().removeprefix(tag): Stored(_value(kind, value), ttl_ms >= 0)
            for name, kind, ttl_ms, value in zip(
                names, facts[::2], facts[1::2], values, strict=True
            )
        }
    )


def _value(kind: bytes, value: Any) -> Any:
    if kind == b"zset":
        # Two shapes: pairs, or members and scores in turn.
        is_flat = bool(value) and not isinstance(value[0], list)
        rows = zip(value[::2], value[1::2], strict=True) if is_flat else value
        return [(_plain(member), int(float(score))) for member, score in rows]
    return _plain(value)


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case dict():
            return {_plain(key): _plain(inner) for key, inner in value.items()}
        case set():
            return {_plain(inner) for inner in value}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    return value
