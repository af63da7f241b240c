"""Pure: the names by which callers address this server."""

import re
from functools import lru_cache

from tickertape.runtime.addresses import is_loopback

# A host or an IPv6 address in brackets, each with or without a port.
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:\[\]/@]+))(?::\d{1,5})?", re.ASCII)


# The callers of a server name it in few ways, and to read an address takes 20 us.
@lru_cache(maxsize=64)
def is_loopback_name(host: str) -> bool:
    """Whether a Host header can only mean this machine."""
    match = _HOST.fullmatch(host)
    return match is not None and is_loopback(match[1] or match[2])
