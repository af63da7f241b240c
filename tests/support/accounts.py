"""Redis accounts with limited rights."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import redis

from tickertape.broker.lua import source

ALL = ("~*", "&*", "+@all")
_RIGHT = re.compile(r"'([A-Z]+)', '([a-z_:]*)', (\d)")


def rights_in(script: str) -> list[tuple[str, str, str]]:
    """A right as a script probes it: command, key or channel, number of further arguments."""
    return _RIGHT.findall(script)


RIGHTS = rights_in(source("probe"))
ASKED = sorted({command for command, *_ in RIGHTS})
KEYS = sorted({name for _, name, _ in RIGHTS if name and not name.startswith("push:")})
CHANNELS = sorted({name for command, name, _ in RIGHTS if command == "SPUBLISH"})

_NAME = "limited"
_PASSWORD = "sesame"  # the server ends with its test


@dataclass(frozen=True)
class Account:
    """`url` logs in as the account; `allow` replaces its rules, also while it is logged in."""

    url: str
    _admin: redis.Redis

    def allow(self, *rules: str) -> None:
        """Limit the account to these rules."""
        reset = ("resetkeys", "resetchannels", "nocommands", "on", f">{_PASSWORD}")
        self._admin.execute_command("ACL", "SETUSER", _NAME, *reset, *rules)  # type: ignore[no-untyped-call]  # bare in redis-py


@contextlib.contextmanager
def limited_account(redis_url: str, *rules: str) -> Iterator[Account]:
    """An account with these ACL rules, until the end of the block."""
    port = urlsplit(redis_url).port
    with redis.Redis.from_url(redis_url) as admin:
        account = Account(f"redis://{_NAME}:{_PASSWORD}@127.0.0.1:{port}/0", admin)
        account.allow(*rules)
        try:
            yield account
        finally:
            admin.execute_command("ACL", "DELUSER", _NAME)


def channels_but(channel: str) -> list[str]:
    """Rules for all channels except those with this prefix and with no longer known prefix."""
    return [
        f"&{{p0}}:{other}" if other == "push:" else f"&{{p0}}:{other}*"
        for other in CHANNELS
        if other != channel
    ]
