"""Pure: addresses of servers without secrets, and whether an address is this machine."""

import ipaddress
from urllib.parse import parse_qs, urlsplit

_HIDDEN = "(hidden)"


def is_cluster(url: str) -> bool:
    """Whether REDIS_URL names the nodes of a cluster."""
    return url.partition("://")[0] in {"redis+cluster", "rediss+cluster"}


def node_urls(url: str) -> list[str]:
    """A URL for each server of an address such as `redis+cluster://user:pw@h1:1,h2:2?x=y`.

    The account and the query are the same for all of them; the scheme has no `+` in it.
    """
    scheme, _, rest = url.partition("://")
    authority, slash, path = _cut(rest)
    account, at, hosts = authority.rpartition("@")
    kind = scheme.partition("+")[0]
    return [f"{kind}://{account}{at}{host}{slash}{path}" for host in hosts.split(",")]


def _cut(rest: str) -> tuple[str, str, str]:
    """The authority of a URL, and what follows it with the character in between."""
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    return rest[:end], rest[end : end + 1], rest[end + 1 :]


def hide_secrets(url: str) -> str:
    """The scheme, host, port and path of a URL, and the database number if its query has one.

    The account is left out, and so is the rest of the query, where some services accept a key. If
    the parts of an address are ambiguous, only the scheme is shown: most often, the password
    contains a "/".
    """
    try:
        parts = urlsplit(url)
        authority = parts.netloc.rpartition("@")[2]
        for server in authority.split(","):  # several, of Sentinels or of a cluster
            _ = urlsplit(f"//{server}").port
    except ValueError:
        return f"{url.partition('://')[0]}://{_HIDDEN}"
    if ":" in authority and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return f"{parts.scheme}://{_HIDDEN}"
    database = parse_qs(parts.query).get("db", [""])[-1]
    query = f"?db={database}" if database.isdecimal() else ""
    return f"{parts.scheme}://{authority}{parts.path}{query}"


def is_loopback(host: str) -> bool:
    """Whether a name or address can only mean this machine."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(host: str) -> bool:
    """Whether a call to this host stays on this machine: loopback, or the unspecified address."""
    return is_loopback(host) or host in {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound


def is_public(host: str) -> bool:
    """Whether a server at this name or address may be reached from outside its own network."""
    if is_loopback(host):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return address.is_global or address.is_unspecified
