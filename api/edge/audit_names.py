"""Pure: what the audit log may show of a path, in which a caller can put anything."""

import re
from collections.abc import Callable
from itertools import chain

from tickertape.api.edge.route_scopes import ROUTE_SCOPES
from tickertape.api.edge.ticket_text import PREFIX as TICKET_PREFIX
from tickertape.runtime.api_key import PREFIX as KEY_PREFIX

HIDDEN = "*"
_WORDS = frozenset(chain.from_iterable(path.split("/") for _, path in ROUTE_SCOPES))
_ID = re.compile(r"(?:resp_)?r\d+_[a-z0-9]{26}", re.ASCII)
# Of Tickertape's own keys and tickets, and of every JWT.
_SECRETS = (KEY_PREFIX, TICKET_PREFIX, "eyJ")
IsKey = Callable[[str], bool]


def object_of(path: str, is_key: IsKey, *, is_served: bool) -> str:
    """The path, whose parts are shown only if they are words of routes or ids of requests.

    `*` stands in place of the others. A call that was served may also show names, such as that of a
    conversation. No call shows what looks like a key, a token or a ticket.
    """

    def shown(part: str) -> bool:
        return part in _WORDS or bool(_ID.fullmatch(part)) or is_served

    parts = path.split("/")
    return "/".join(name_of(part, is_key) if shown(part) else HIDDEN for part in parts)


def name_of(text: str, is_key: IsKey) -> str:
    """The name, or `*` in place of what looks like a key, a token or a ticket."""
    return HIDDEN if text.startswith(_SECRETS) or is_key(text) else text
