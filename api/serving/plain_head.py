"""Pure: heads without an offer of another protocol, which the parser would follow by itself.

The parser takes what follows a head with `Upgrade` for another protocol, and the body would be
lost. Java's HttpClient and `curl --http2` offer HTTP/2 with each call; a server may ignore that.
"""

import re

_HEAD_END = b"\r\n\r\n"
_UPGRADE = re.compile(rb"(\n)upgrade(?=[ \t]*:)", re.IGNORECASE)
# As long as the name that it replaces.
_IGNORED = rb"\1ignored"


def without_upgrade(piece: memoryview) -> memoryview | bytes:
    """The bytes with the `Upgrade` of the first head under a name without a meaning.

    They begin in a head. A name that is split between two pieces stays.
    """
    if _UPGRADE.search(piece) is None:
        return piece
    head, end, rest = bytes(piece).partition(_HEAD_END)
    return _UPGRADE.sub(_IGNORED, head) + end + rest
