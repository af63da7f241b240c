"""Loads scripts/*.lua and calls the scripts with arguments by name."""

import time
from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from tickertape.broker.clients import ServerClient
from tickertape.broker.connections import TIMING
from tickertape.broker.faults import crash_at
from tickertape.broker.kinds import VERDICTS, Verdict
from tickertape.broker.redis_errors import in_time
from tickertape.broker.script_header import Argument, ScriptHeader, parse_header
from tickertape.broker.shared_line import LOST

# Redis refuses at the start what has a first line without flags. Else it lets a script take memory
# behind a command that frees some, because half a change would be worse.
_SHEBANGS = {(): "", ("allow-oom",): "#!lua flags=allow-oom\n", ("deny-oom",): "#!lua\n"}
_HAS_CHANGED = frozenset({"OK", "GO"})
# Their replies may be large, and would delay those behind them on a shared line.
_LARGE = frozenset({"chain", "lines", "rows"})
_VERDICTS: dict[bytes, Verdict] = {word.encode(): word for word in VERDICTS}
NAMES = (
    "submit", "claim", "look", "append", "renew", "reopen", "retry", "release",
    "finish", "cancel", "account", "erase", "erase_turn", "rename", "claim_title", "forget",
    "position", "lines", "agree", "probe", "fence", "remap", "uncompacted", "compact", "recount",
    "retain", "chain", "seat", "unseat", "count_seats", "settle", "add_key", "move_key",
    "revoke_key", "revoke_tickets", "may_rewrite", "rows", "try_writes",
    "mark", "enter_upstream", "leave_upstream", "collect", "handed", "send_again", "watch",
    "states",
)  # fmt: skip


@cache
def header(name: str) -> ScriptHeader:
    """The signature of a script."""
    return parse_header(_text(name))


@cache
def source(name: str) -> str:
    """The text of a script as Redis gets it: its flags, the files that it needs, the script.

    A script without the flag `allow-oom` is refused by a Redis whose memory is full, at its first
    command that takes memory, or before it starts if it has the flag `deny-oom`. All scripts that
    end requests have the flag `allow-oom`, because they free memory, and so has the one that renews
    leases.
    """
    signature = header(name)
    return _SHEBANGS[signature.flags] + "".join(_text(part) for part in (*signature.needs, name))


@cache
def _read_all() -> None:
    # At the start of the process: an upgrade in place may change the files later.
    for name in NAMES:
        source(name)


def _text(name: str) -> str:
    return (files("tickertape.broker") / "scripts" / f"{name}.lua").read_text("utf-8")


class Scripts:
    """The scripts of one client. The header of each script names the arguments of its calls.

    A call with all its repeats takes at most `limit_s`.
    """

    def __init__(self, client: "Redis", *, limit_s: float = TIMING.command_limit_s) -> None:
        self._limit_s = limit_s
        self._client = client
        self._line = client.line if isinstance(client, ServerClient) else None
        self._scripts: dict[str, tuple[ScriptHeader, AsyncScript]] = {}
        _read_all()

    async def call(
        self, name: str, keys: list[str], /, *values: Argument, **arguments: Argument
    ) -> Any:
        """Run a script and return its reply; raises Unavailable when the outcome is not known.

        The shared line of the process comes first. redis-py repeats the call by itself when the
        connection breaks, and loads the script when the server has forgotten it. A cancellation
        also leaves the outcome unknown. A name that the header of the script does not have, or a
        missing one, is a TypeError before the call.
        """
        signature, script = self._scripts.get(name) or self._registered(name)
        ordered = signature.order(keys, arguments, values)
        limit_s = self._limit_s
        if self._line is not None and self._line.is_open and name not in _LARGE:
            began_s = time.monotonic()
            reply = await self._line.call(script.sha, keys, ordered, limit_s)
            if reply is not LOST:
                return reply
            limit_s -= time.monotonic() - began_s
        async with in_time(limit_s):
            return await script(keys=keys, args=ordered)

    def _registered(self, name: str) -> tuple[ScriptHeader, AsyncScript]:
        # At the first call: redis-py hashes the text, and most objects call a few of the scripts.
        found = header(name), self._client.register_script(source(name))
        self._scripts[name] = found
        return found

    async def verdict(
        self, name: str, keys: list[str], /, *values: Argument, **arguments: Argument
    ) -> tuple[Verdict, list[bytes]]:
        """Run a script whose reply is a verdict and details; raises as `call` does."""
        crash_at("before", name)
        word, *details = await self.call(name, keys, *values, **arguments)
        verdict = _VERDICTS[word]
        if verdict in _HAS_CHANGED:
            crash_at("after", name)
        return verdict, details
