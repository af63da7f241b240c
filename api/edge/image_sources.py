"""Pure: from where an upstream may fetch the pictures and files that a message names.

The upstream fetches an address, inside its own network. An address there would show a caller what
only that network may see, so that only public addresses pass. No name is looked up here: a public
name that leads to a private address passes, and has to be refused where it is fetched.
"""

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from tickertape.runtime.json_types import JsonObject
from tickertape.runtime.public_hosts import is_public

DEFAULT_SOURCES = frozenset({"https", "data"})
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_MAX_SCHEME_CHARS = 40
# Programs disagree on what these characters in an address mean.
_UNCLEAR = re.compile(r"[\x00-\x20\x7f\\]")
# Parts of a message that models read as text.
_TEXTS = frozenset(
    {"arguments", "content", "input", "reasoning", "reasoning_content", "refusal", "text", "type"}
)


def refused_source(messages: Iterable[JsonObject], sources: frozenset[str]) -> str | None:
    """Why the messages name an address that their tenant may not use; None if all are allowed.

    An address is a text in a field whose name ends with `url`, and any text that begins as an
    address does, at any depth, in whatever form the upstream's family has for its parts.

    `sources` are schemes, such as `https`, and hosts with their scheme, such as
    `http://files.example` or `https://*.example`. A listed host may also be a private one. The
    reason does not repeat the address.
    """
    found = (address for message in messages for address in _addresses(message, ""))
    return next((reason for address in found if (reason := _refused(address, sources))), None)


def refused_server(tools: object, sources: frozenset[str]) -> str | None:
    """Why the tools name a server that their tenant may not use; None if all are allowed.

    The upstream calls the `server_url` of a tool. The schema of a tool's arguments, which may have
    addresses as examples, is not looked into.
    """
    for tool in tools if isinstance(tools, list) else ():
        for name, address in tool.items() if isinstance(tool, dict) else ():
            if name.endswith("url") and (reason := _refused(str(address), sources)):
                return reason
    return None


def _addresses(value: object, name: str) -> Iterator[str]:
    """Every text in a field of this name that an upstream may take for an address."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not (key in _TEXTS and isinstance(inner, str)) and key != "input":
                yield from _addresses(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _addresses(inner, name)
    elif isinstance(value, str) and (name.endswith("url") or "://" in value[:_MAX_SCHEME_CHARS]):
        yield value


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
