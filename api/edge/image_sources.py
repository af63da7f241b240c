"""Pure: from where an upstream may fetch the pictures and files that a message names.

The upstream fetches an address, inside its own network. An address there would show a caller what
only that network may see, so that only public addresses pass. No name is looked up here: a public
name that leads to a private address passes, and has to be refused where it is fetched.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from tickertape.runtime.json_types import JsonObject

DEFAULT_SOURCES = frozenset({"https", "data"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_MAX_SCHEME_CHARS = 40
# Programs disagree on what these characters in an address mean.
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\]")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+", re.ASCII)
_INNER_NAMES = (
    "localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private",
    "home.arpa", "svc", "consul",
)  # fmt: skip
_HOLDS_IPV4 = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)


def refused_source(messages: Iterable[JsonObject], sources: frozenset[str]) -> str | None:
    """Why the messages name an address that their tenant may not use; None if all are allowed.

    `sources` are schemes, such as `https`, and hosts with their scheme, such as
    `http://files.example` or `https://*.example`. A listed host may also be a private one. The
    reason does not repeat the address.
    """
    return next(
        (reason for address in _addresses(messages) if (reason := _refused(address, sources))),
        None,
    )


def _addresses(messages: Iterable[JsonObject]) -> Iterator[str]:
    """Every text in a part of a message that an upstream may take for an address."""
    for message in messages:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict):
                yield from _addresses_in(part)


def _addresses_in(part: JsonObject) -> Iterator[str]:
    for name, value in part.items():
        fields = value if isinstance(value, dict) else {name: value}
        for key, text in fields.items():
            if not isinstance(text, str) or key in {"text", "type"}:
                continue
            if key.endswith("url") or "://" in text[:_MAX_SCHEME_CHARS]:
                yield text


def _refused(address: str, sources: frozenset[str]) -> str | None:
    scheme = _SCHEME.match(address[:_MAX_SCHEME_CHARS])
    name = scheme[1].lower() if scheme else ""
    if name == "data":
        return None if "data" in sources else _not_among(sources)
    if _UNCLEAR.search(address):
        return "an address holds a space, a backslash or a control character"
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").rstrip(".")
        _ = parts.port
    except ValueError:
        return "an address cannot be read"
    if _is_listed(name, host, sources):
        return None if "@" not in parts.netloc else "an address holds a user name"
    if name not in sources:
        return _not_among(sources)
    if "@" in parts.netloc:
        return "an address holds a user name"
    if name in {"http", "https"} and not is_public(host):
        return "an address does not name a public host"
    return None


def _is_listed(scheme: str, host: str, sources: frozenset[str]) -> bool:
    origin = f"{scheme}://{host}"
    return any("://" in source and fnmatchcase(origin, source) for source in sources)


def _not_among(sources: frozenset[str]) -> str:
    return f"files may come from {', '.join(sorted(sources)) or 'nowhere'} only"


def is_public(host: str) -> bool:
    """Whether a host, in lower case, is a public name or a public address, in any notation.

    Programs read `2130706433`, `0x7f.1` and `127.1` as 127.0.0.1. IPv6 addresses that hold an IPv4
    address count as that address.
    """
    if ":" in host:
        return _is_public_ipv6(host)
    if not _HOST.fullmatch(host):
        # One label: a name inside a network, or a number that is an address.
        return bool(_NUMBER.fullmatch(host)) and _is_public_number(host)
    if _NUMBER.fullmatch(host.rpartition(".")[2]):
        return _is_public_number(host)
    return not any(host == name or host.endswith(f".{name}") for name in _INNER_NAMES)


def _is_public_number(host: str) -> bool:
    try:
        address = ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return False
    return address.is_global and not address.is_multicast


def _is_public_ipv6(host: str) -> bool:
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped
    if mapped is not None:
        return mapped.is_global and not mapped.is_multicast
    if address.sixtofour or address.teredo or any(address in net for net in _HOLDS_IPV4):
        return False  # no public server has such an address
    return address.is_global and not address.is_multicast
