"""Pure but for `read`: the receivers of webhooks, from the file that TICKERTAPE_WEBHOOKS names."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.principals import tenant_of
from tickertape.deliver.events import EVENT_TYPES, Event
from tickertape.deliver.signature import read_secret
from tickertape.runtime.public_hosts import is_public
from tickertape.runtime.toml_text import parse_toml

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_FIELDS = {"name", "url", "secret", "secret_file", "tenants", "events", "allow_private"}
_MOST_RECEIVERS = 10_000


@dataclass(frozen=True)
class Receiver:
    """A receiver: where it is, what it gets, and the keys that sign what it gets.

    None for `tenants` stands for all tenants. With `allow_private`, the address may be one inside
    the network of the server, and need not be https.
    """

    name: str
    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)
    tenants: frozenset[str] | None = None
    events: frozenset[str] = frozenset(EVENT_TYPES)
    allow_private: bool = False

    def gets(self, principal: str, event: Event) -> bool:
        """Whether the receiver gets an event of a tenant, or of one of the tenant's users."""
        is_for_tenant = self.tenants is None or tenant_of(principal) in self.tenants
        return is_for_tenant and event.type in self.events


def read(path: Path) -> dict[str, Receiver]:
    """The receivers by their names; raises SettingsInvalid with the receiver and the field.

    No reason has an address or a secret, because addresses may hold passwords.
    """
    try:
        given = parse_toml(path.read_text("utf-8-sig"))
    except OSError as error:
        raise _wrong(path, f"the file cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "not UTF-8 text"
        raise _wrong(path, reason) from None
    rows = given.pop("receiver", None)
    is_list = isinstance(rows, list) and all(isinstance(each, dict) for each in rows)
    if given or not is_list or not 0 < len(rows) <= _MOST_RECEIVERS:
        raise _wrong(path, "write one [[receiver]] for each receiver, and nothing beside them")
    found: dict[str, Receiver] = {}
    for number, row in enumerate(rows, start=1):
        try:
            receiver = _receiver(row, path.parent)
        except ValueError as error:
            raise _wrong(path, f"receiver {number}: {error}") from None
        if receiver.name in found:
            raise _wrong(path, f"receiver {number}: name: {receiver.name!r} is used twice")
        found[receiver.name] = receiver
    return found


def _wrong(path: Path, reason: str) -> SettingsInvalid:
    return SettingsInvalid(f"TICKERTAPE_WEBHOOKS is {str(path)!r}: {reason}")


def _receiver(row: Mapping[str, Any], folder: Path) -> Receiver:
    if unknown := set(row) - _FIELDS:
        raise ValueError(f"{min(unknown)}: the fields are {', '.join(sorted(_FIELDS))}")
    name, allow_private = row.get("name"), row.get("allow_private", False)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError("name: use 1 to 64 of the characters A-Z, a-z, 0-9, ., _ and -")
    if not isinstance(allow_private, bool):
        raise ValueError("allow_private: write true or false")  # noqa: TRY004  # for the reader of the file
    events = _texts(row, "events", EVENT_TYPES)
    if unknown_events := set(events) - set(EVENT_TYPES):
        raise ValueError(f"events: {min(unknown_events)!r} is not one of {', '.join(EVENT_TYPES)}")
    return Receiver(
        name,
        _url(row.get("url"), allow_private=allow_private),
        tuple(_keys(row, folder)),
        frozenset(_texts(row, "tenants")) if "tenants" in row else None,
        frozenset(events),
        allow_private,
    )


def _texts(row: Mapping[str, Any], name: str, default: Sequence[str] = ()) -> Sequence[str]:
    found = row.get(name, default)
    is_list = isinstance(found, (list, tuple)) and all(isinstance(each, str) for each in found)
    if not is_list or not found:
        raise ValueError(f"{name}: write a list of texts")
    return list(found)


def _url(url: object, *, allow_private: bool) -> str:
    schemes = {"https", "http"} if allow_private else {"https"}
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        _ = parts.port
    except ValueError:
        raise ValueError("url: the address cannot be read") from None
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError("url: use https://..., or http://... with allow_private = true")
    if not allow_private and not is_public(parts.hostname.rstrip(".")):
        raise ValueError("url: the host is not public; allow_private = true allows it")
    return str(url)


def _keys(row: Mapping[str, Any], folder: Path) -> list[bytes]:
    if ("secret" in row) == ("secret_file" in row):
        raise ValueError("secret: give secret or secret_file")
    if "secret" in row:
        secret = row["secret"]
        texts = [secret] if isinstance(secret, str) else _texts(row, "secret")
        where = "secret"
    else:
        where = "secret_file"
        try:
            texts = (folder / str(row[where])).read_text("utf-8").split()
        except (OSError, UnicodeDecodeError):
            texts = []
        if not texts:
            raise ValueError(f"{where}: the file cannot be read, or is empty")
    try:
        return [read_secret(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
