"""The account that a process logs in to Redis with. It may change while the process runs.

Redis asks for an account when a connection opens, so open connections stay as they are.
"""

from dataclasses import dataclass, field

from redis.asyncio.connection import parse_url

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import node_urls
from tickertape.runtime.sentinel_address import is_sentinel, parse_sentinel_url
from tickertape.runtime.setting_addresses import checked_redis_url

_ACCOUNT = {"username", "password"}


@dataclass
class Account:
    """What each new connection of a process logs in with."""

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    def become(self, url: str) -> None:
        """Take the account of the servers from a URL."""
        server_url = parse_sentinel_url(url).server_url if is_sentinel(url) else url
        given = parse_url(node_urls(server_url)[0])
        self.username, self.password = given.get("username"), given.get("password")


def check_same_servers(url: str, other: str) -> None:
    """Raise SettingsInvalid unless `other` is a valid URL that differs in its accounts only."""
    try:
        is_same = _servers(url) == _servers(checked_redis_url(other))
    except ValueError as error:
        raise SettingsInvalid(str(error)) from None
    if not is_same:
        raise SettingsInvalid(
            "the file names another server or other options: restart the process to use them"
        )


def _servers(url: str) -> object:
    if is_sentinel(url):
        address = parse_sentinel_url(url)
        return address.sentinels, address.name, _servers(address.server_url)
    options = [parse_url(each).items() for each in node_urls(url)]
    return url.partition("://")[0], [
        {name: value for name, value in each if name not in _ACCOUNT} for each in options
    ]
