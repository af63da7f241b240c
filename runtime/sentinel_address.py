"""Pure: the address of a primary that Sentinels name.

    redis+sentinel://[user:password@]host[:port][,host[:port]...]/NAME[/DB][?sentinel_password=...]

The account is that of the servers. The account of the Sentinels stands in the query, under the
names that go-redis uses: `sentinel_username` and `sentinel_password`. With `rediss+sentinel`, the
servers and the Sentinels are reached over TLS.
"""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

SCHEMES = ("redis+sentinel", "rediss+sentinel")
_PORT = 26379
_ACCOUNT = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class SentinelAddress:
    """`server_url` has the account, database and options of the servers, but not their host."""

    sentinels: tuple[tuple[str, int], ...]
    name: str
    server_url: str = field(repr=False)
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def is_sentinel(url: str) -> bool:
    """Whether an address names Sentinels."""
    return url.partition("://")[0] in SCHEMES


def parse_sentinel_url(url: str) -> SentinelAddress:
    """Raises ValueError with a message that says what to write instead."""
    parts = urlsplit(url)
    account, _, hosts = parts.netloc.rpartition("@")
    name, _, database = parts.path.removeprefix("/").partition("/")
    if not name:
        raise ValueError(
            f"name the primary after the Sentinels: {parts.scheme}://host:{_PORT}/NAME"
        )
    if database and not (database.isascii() and database.isdecimal()):
        raise ValueError(f"the database after the name is a number: /{name}/0")
    query = parse_qsl(parts.query, keep_blank_values=True)
    given = {key: value for key, value in query if key in _ACCOUNT}
    if given.get("sentinel_username") and not given.get("sentinel_password"):
        raise ValueError("give sentinel_password along with sentinel_username")
    options = urlencode([(key, value) for key, value in query if key not in _ACCOUNT])
    server = f"{parts.scheme.partition('+')[0]}://{account}{'@' if account else ''}sentinel"
    return SentinelAddress(
        tuple(_host_and_port(each) for each in hosts.split(",")),
        name,
        f"{server}/{database or 0}" + (f"?{options}" if options else ""),
        given.get("sentinel_username") or None,
        given.get("sentinel_password") or None,
    )


def _host_and_port(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text.strip()}")
    try:
        port = _PORT if parts.port is None else parts.port
    except ValueError:
        message = "a port is not valid: percent-encode special characters in the password"
        raise ValueError(message) from None
    if not parts.hostname:
        raise ValueError("give each Sentinel as host:port, with commas between them")
    return parts.hostname, port
