"""What an append costs Redis: `python -m bench.append_cost`.

Appends of one delta of 120 bytes, with a subscriber on each log and an append-only file. The
variants take turns: the script of release 0.1.0 (one request in a call), this tree's script with 1,
4, 16 and 64 requests in a call, and two scripts that docs/decisions/0048 rejects. The figure is the
CPU time of the server for one append, in us: the 10th percentile and the median of all rounds, and
the ratio of the former to release 0.1.0's.
"""

import asyncio
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import hiredis

from bench.box import cpu_s
from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig
from tests.support.servers import ValkeyServer, valkey_server
from tickertape.broker.appender import MAX_ENTRIES, Appender, Target
from tickertape.broker.codec import encode_text
from tickertape.broker.lua import source

_ROUNDS, _REQUESTS, _APPENDS = 100, 192, 4
_MAX_BYTES = 10**9
_VALUE = encode_text("delta", "0123456789" * 12)
_WITHOUT_HMGET = """
local id = ARGV[1] .. '-' .. ARGV[2]
local added = redis.call('XADD', KEYS[2], 'NOMKSTREAM', ARGV[1] .. '-*', 'e', ARGV[6])
if added ~= id then return 'GAP' end
redis.call('HSET', KEYS[1], 'seq', ARGV[2], 'output_bytes', ARGV[2])
redis.call('SPUBLISH', ARGV[5], id .. '\\n' .. #ARGV[6] .. ':' .. ARGV[6])
return { 'OK', tonumber(ARGV[2]) }
"""
_WITHOUT_HASH = "".join(
    line for line in _WITHOUT_HMGET.splitlines(keepends=True) if "HSET" not in line
)
_Command = list[bytes | str | int]


@dataclass
class _Variant:
    """A script, and how many requests one call of it names; `targets` are requests of its own."""

    name: str
    script: str
    pack: Callable[[str, Sequence[Target], int], _Command]
    each: int = 1
    sha: str = ""
    targets: list[Target] = field(default_factory=list)
    us: list[float] = field(default_factory=list)


def _pack_old(sha: str, targets: Sequence[Target], seq: int) -> _Command:
    [to] = targets
    names: _Command = ["EVALSHA", sha, 2, to.request_key, to.log_key]
    return [*names, to.attempt, seq, MAX_ENTRIES, _MAX_BYTES, to.channel, _VALUE]


def _pack(sha: str, targets: Sequence[Target], seq: int) -> _Command:
    keys = [key for to in targets for key in (to.request_key, to.log_key)]
    packed: _Command = ["EVALSHA", sha, len(keys), *keys, MAX_ENTRIES, _MAX_BYTES]
    for to in targets:
        packed += [to.attempt, seq, to.channel, 1, _VALUE]
    return packed


def _variants() -> list[_Variant]:
    old = ["git", "show", "526292b:broker/scripts/append.lua"]
    script = subprocess.run(old, check=True, capture_output=True, text=True).stdout
    return [
        _Variant("release 0.1.0", script, _pack_old),
        *(_Variant(f"{n} requests in a call", source("append"), _pack, n) for n in (1, 4, 16, 64)),
        _Variant("rejected: fenced by ids", _WITHOUT_HMGET, _pack_old),
        _Variant("rejected: and no hash", _WITHOUT_HASH, _pack_old),
    ]


class _Line:
    """A blocking connection."""

    def __init__(self, server: ValkeyServer) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port))
        self._parser = hiredis.Reader()
        self._out = bytearray()
        if password := urlsplit(server.url).password:
            self.ask([["AUTH", password]])

    def ask(self, commands: Sequence[_Command]) -> list[object]:
        for each in commands:
            self._out += hiredis.pack_command(tuple(each))  # type: ignore[arg-type]  # a narrow stub
        self._socket.sendall(self._out)
        self._out.clear()
        replies: list[object] = []
        while len(replies) < len(commands):
            self._parser.feed(self._socket.recv(1 << 20))
            while (reply := self._parser.gets()) is not False:
                assert not isinstance(reply, Exception), reply
                replies.append(reply)
        return replies

    def drain(self) -> None:
        while self._socket.recv(1 << 20):
            pass


async def _prepare(rig: Rig, line: _Line, variants: Sequence[_Variant]) -> list[bytes]:
    appender = Appender(rig.connections, GivenSettings())
    for variant in variants:
        leases = [await rig.leased() for _ in range(_REQUESTS)]
        variant.targets = [appender.target(lease.request_id, lease.attempt) for lease in leases]
        [sha] = line.ask([["SCRIPT", "LOAD", variant.script]])
        assert isinstance(sha, bytes)
        variant.sha = sha.decode()
    return [to.channel for variant in variants for to in variant.targets]


def _play(server: ValkeyServer, line: _Line, variant: _Variant, first_seq: int) -> None:
    starts = range(0, _REQUESTS, variant.each)
    parts = [variant.targets[at : at + variant.each] for at in starts]
    turns = [
        [variant.pack(variant.sha, part, first_seq + n) for part in parts] for n in range(_APPENDS)
    ]
    before_s = cpu_s([server.process.pid])
    for turn in turns:
        for reply in line.ask(turn):
            assert isinstance(reply, list)
            assert set(reply[::2]) == {b"OK"}, reply
    spent_s = cpu_s([server.process.pid]) - before_s
    variant.us.append(spent_s / _REQUESTS / _APPENDS * 1e6)


async def main() -> None:
    """Measure, and print a line for each variant."""
    variants = _variants()
    settings = GivenSettings(lease_s=300, tenant_limit=10**5, queue_limit=10**5)
    with valkey_server(append_only=True) as server:
        line, subscriber = _Line(server), _Line(server)
        async with open_rig(server.url, settings) as rig:
            channels = await _prepare(rig, line, variants)
        subscriber.ask([["SSUBSCRIBE", channel] for channel in channels])
        threading.Thread(target=subscriber.drain, daemon=True).start()
        for number in range(_ROUNDS):
            for variant in random.sample(variants, len(variants)):
                _play(server, line, variant, 1 + number * _APPENDS)
    old = sorted(variants[0].us)[_ROUNDS // 10]
    for variant in variants:
        low, middle = sorted(variant.us)[_ROUNDS // 10], sorted(variant.us)[_ROUNDS // 2]
        print(f"{variant.name:24} {low:5.1f} {middle:5.1f} us  {low / old:.2f} x")


if __name__ == "__main__":
    asyncio.run(main())
