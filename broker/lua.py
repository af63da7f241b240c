"""Loads scripts/*.lua and calls them."""

from functools import cache
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from tickertape.broker.connections import in_time
from tickertape.broker.faults import crash_at

# What a script needs in front of it; the rest needs all that the scripts share.
_HEADS: dict[str, tuple[str, ...]] = {
    "append": (),
    "renew": (),
    "account": (),
    "probe": ("rights",),
}
_WHOLE_HEAD = ("rights", "prefix")
# Without this flag a full Redis would refuse the very scripts that end requests and free memory,
# and leases would run out. It needs a shebang, which fakeredis does not know.
_ALLOW_OOM = frozenset(
    {"finish", "cancel", "renew", "retry", "release", "account", "erase", "forget"}
)
_HAS_CHANGED = frozenset({b"OK", b"GO"})
_SHEBANG = "#!lua flags=allow-oom\n"
NAMES = (
    "submit", "claim", "append", "renew", "reopen", "retry", "release",
    "finish", "cancel", "account", "erase", "forget", "position", "probe",
)  # fmt: skip


@cache
def source(name: str, *, shebang: bool = True) -> str:
    """The text of a script as Redis gets it."""
    folder = files("tickertape.broker") / "scripts"
    files_of_script = (*_HEADS.get(name, _WHOLE_HEAD), name)
    body = "".join((folder / f"{part}.lua").read_text("utf-8") for part in files_of_script)
    return _SHEBANG + body if shebang and name in _ALLOW_OOM else body


class Scripts:
    """The scripts of one client."""

    def __init__(self, client: "Redis", *, shebang: bool = True) -> None:
        self._scripts: dict[str, AsyncScript] = {
            name: client.register_script(source(name, shebang=shebang)) for name in NAMES
        }

    async def call(self, name: str, keys: list[str], *arguments: str | bytes | float) -> Any:
        """Run a script; raises Unavailable when its outcome is not known.

        redis-py repeats the call by itself when the connection breaks, and loads the script when
        the server has forgotten it. Cancelling leaves the outcome unknown, too.
        """
        async with in_time():
            return await self._scripts[name](keys=keys, args=arguments)

    async def verdict(
        self, name: str, keys: list[str], *arguments: str | bytes | float
    ) -> tuple[str, list[bytes]]:
        """Run a script that answers a word and details."""
        crash_at("before", name)
        word, *details = await self.call(name, keys, *arguments)
        if word in _HAS_CHANGED:
            crash_at("after", name)
        return bytes(word).decode(), details
