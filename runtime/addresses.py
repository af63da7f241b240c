"""Pure: the addresses of servers, as logs and people may see them."""

import ipaddress
from urllib.parse import parse_qs, urlsplit

_HIDDEN = "(hidden)"


def hide_secrets(url: str) -> str:
    """The scheme, host, port and path of a URL, and the database number if its query has one.

    The account is left out, and the rest of the query, where some services take a key. An address
    whose parts cannot be told apart shows its scheme alone: most often its password holds a "/".
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"{url.partition('://')[0]}://{_HIDDEN}"
    place = parts.netloc.rpartition("@")[2]
    if ":" in place and "@" in f"{parts.path}{parts.query}{parts.fragment}":
        return f"{parts.scheme}://{_HIDDEN}"
    database = parse_qs(parts.query).get("db", [""])[-1]
    query = f"?db={database}" if database.isdecimal() else ""
    return f"{parts.scheme}://{place}{parts.path}{query}"


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
