"""Pure: networks of addresses, as a setting lists them."""

import ipaddress
from functools import lru_cache
from typing import TypeAlias

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Networks: TypeAlias = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]


def networks_of(text: str) -> Networks:
    """The networks of a list with commas; an address is a network of one. Raises ValueError."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            message = f"{item!r} is not an address or a network; use 10.0.0.7,172.16.0.0/12"
            raise ValueError(message) from None
    return tuple(found)


@lru_cache(maxsize=4096)
def address_of(text: str) -> Address | None:
    """The address in a text, without the zone of IPv6; None for any other text."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_in(address: Address, networks: Networks) -> bool:
    """Whether one of the networks holds the address."""
    return any(address in network for network in networks)


def neighborhood(address: Address) -> str:
    """What one caller can choose addresses from: the address itself, or the /64 of IPv6."""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))
