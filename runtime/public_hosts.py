"""Pure: which hosts are public, and not inside the network of the server."""

import ipaddress
import re
import socket

_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)+", re.ASCII)
_INNER_NAMES = (
    "localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "private",
    "home.arpa", "svc", "consul",
)  # fmt: skip
_HOLDS_IPV4 = tuple(map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48")))
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)", re.ASCII)


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
