"""API keys that an operator lists, in the environment or in a file that may be reloaded.

Only the SHA-256 of a key is kept. A key is found by its hash: an attacker cannot choose the hash of
a guess, so the time of the search shows nothing about the listed keys.
"""

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias, cast

import structlog

from tickertape.api.edge.caller import ALL_SCOPES, Caller, CallScope
from tickertape.api.fanout.permit import Permit
from tickertape.broker.errors import SettingsInvalid
from tickertape.broker.principals import is_tenant_name
from tickertape.runtime.file_stamp import stamp_of
from tickertape.runtime.settings import Settings

logger = structlog.get_logger("api")

_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_OPTION = re.compile(r"\s+([a-z_]+)=(\S*)", re.ASCII)
_KEPT = ("retention_s", "conversation_ttl_s")
_OPTIONS = (*_KEPT, "scopes", "models")
_MOST_SECONDS = 31_536_000
RELOAD_INTERVAL_S = 1.0
PERMIT_PREFIX = "listed:"
LISTED_ID = "list-"
_SHORTEST_KEY = 16
_FORMAT = "use tenant:key,tenant:key or @file with one tenant:key a line"


class Keys:
    """Callers by the hashes of their keys; a tenant may have several keys."""

    def __init__(
        self, callers: dict[bytes, Caller], kept_s: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self._callers = callers
        self._kept_s = kept_s or {}

    def find(self, key: str, permit: Callable[[str], Permit] | None = None) -> Caller | None:
        """The caller with this key, None for an unknown key; `permit` makes its permit by name."""
        digest = _digest(key)
        caller = self._callers.get(digest)
        if caller is not None and permit is not None and caller.permit is None:
            # Once for each key, because this is on the way of every call.
            caller = replace(caller, permit=permit(PERMIT_PREFIX + digest.hex()))
            self._callers[digest] = caller
        return caller

    def has_changed(self, digest: str, *, since: "Keys | None") -> bool:
        """Whether the key with this SHA-256 in hex is listed no more, or with other rights."""
        now = self.of_digest(digest)
        return now is None or (since is not None and since.of_digest(digest) != now)

    def of_digest(self, digest: str) -> Caller | None:
        """The caller by the SHA-256 of its key in hex."""
        return self._callers.get(bytes.fromhex(digest))

    def grants(
        self, key_id: str, tenant: str, scope: CallScope, models: Iterable[str] | None
    ) -> bool:
        """Whether a key with this id is listed, is of the tenant and has the scope and the models.

        None are all models.
        """
        return any(
            (caller.key_id, caller.tenant) == (key_id, tenant)
            and scope in caller.scopes
            and (caller.models is None or (models is not None and caller.models >= {*models}))
            for caller in self._callers.values()
        )

    def retention(self, tenant: str) -> tuple[int | None, int | None]:
        """For how many seconds requests and conversations of a tenant are kept; None if not set."""
        kept_s = self._kept_s.get(tenant, {})
        return kept_s.get("retention_s"), kept_s.get("conversation_ttl_s")

    def lists_as_hash(self, key: str) -> bool:
        """Whether the text is a listed hash, which a caller sent in place of the key."""
        return bool(_SHA256_HEX.fullmatch(key)) and bytes.fromhex(key) in self._callers


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


@dataclass
class _Options:
    """What stands behind a key."""

    kept_s: dict[str, int] = field(default_factory=dict)
    scopes: frozenset[CallScope] = ALL_SCOPES
    models: frozenset[str] | None = None


def parse_keys(text: str) -> Keys:
    """Read `tenant:key` items, separated by commas or lines; `#` begins a comment line.

    A key is plain text, or its SHA-256 as 64 hex digits. Behind a key, `scopes=read+list` and
    `models=NAME+NAME` limit what the key may do, and `retention_s=N` and `conversation_ttl_s=N`
    shorten how long the tenant's data is kept. Raises SettingsInvalid, without the key.
    """
    callers: dict[bytes, Caller] = {}
    kept_s: dict[str, dict[str, int]] = {}
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    items = [item.strip() for item in ",".join(lines).split(",")]
    for number, item in enumerate(filter(None, items), 1):
        words = _OPTION.split(item)
        tenant, colon, key = words[0].partition(":")
        if not colon or not key or not is_tenant_name(tenant) or any(words[3::3]):
            raise SettingsInvalid(f"TICKERTAPE_API_KEYS: item {number} is wrong: {_FORMAT}")
        options = _options(number, list(zip(words[1::3], words[2::3], strict=True)))
        is_hash = _SHA256_HEX.fullmatch(key)
        digest = bytes.fromhex(key) if is_hash else _digest(key)
        if len(key) < _SHORTEST_KEY:
            raise _wrong(
                number,
                f"its key has fewer than {_SHORTEST_KEY} characters, which can be guessed; "
                "`openssl rand -hex 24` makes one, and so does `tickertape keys add`",
            )
        callers[digest] = Caller(
            tenant=tenant,
            key_id=LISTED_ID + digest.hex()[:8],
            scopes=options.scopes,
            models=options.models,
        )
        own = kept_s.setdefault(tenant, {})
        for name, seconds in options.kept_s.items():
            own[name] = min(seconds, own.get(name, _MOST_SECONDS))
    if not callers:
        raise SettingsInvalid(f"TICKERTAPE_API_KEYS holds no key: {_FORMAT}")
    return Keys(callers, kept_s)


def _options(number: int, given: list[tuple[str, str]]) -> _Options:
    options = _Options()
    for name, value in given:
        match name:
            case "scopes":
                options.scopes = _scopes(number, value)
            case "models":
                options.models = frozenset(filter(None, value.split("+")))
            case _ if name in _KEPT:
                options.kept_s[name] = _seconds(number, name, value)
            case _:
                raise _wrong(number, f"there is no {name}, only {', '.join(_OPTIONS)}")
    return options


def _scopes(number: int, value: str) -> frozenset[CallScope]:
    names = frozenset(filter(None, value.split("+")))
    if not names or not names <= ALL_SCOPES:
        known = "+".join(sorted(ALL_SCOPES))
        raise _wrong(number, f"scopes are some of {known}, with + between them")
    return cast("frozenset[CallScope]", names)


def _seconds(number: int, name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= _MOST_SECONDS:
        raise _wrong(number, f"{name} is not a number of seconds from 1 to {_MOST_SECONDS}")
    return int(value[:9])


def _wrong(number: int, reason: str) -> SettingsInvalid:
    return SettingsInvalid(f"TICKERTAPE_API_KEYS: item {number} is wrong: {reason}")


class KeyFile:
    """Keys in a file that may be edited while the process runs.

    The file is checked for changes at most once in `reload_interval_s`.
    Raises SettingsInvalid if the file is wrong at the start.
    """

    def __init__(
        self,
        path: Path,
        reload_interval_s: float = RELOAD_INTERVAL_S,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._reload_interval_s = reload_interval_s
        self._clock = clock
        self._checked_s = clock()
        self._stamp = stamp_of(self._path)
        self._keys = self._read()
        self.is_refused = False
        """Whether the file was wrong when it was last read."""

    def __call__(self) -> Keys:
        """The keys, at most one interval behind the file. While it is wrong, the last good keys."""
        if self._clock() - self._checked_s < self._reload_interval_s:
            return self._keys
        self._checked_s = self._clock()
        if (stamp := stamp_of(self._path)) != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
                self.is_refused = False
            except SettingsInvalid as error:
                self.is_refused = True
                logger.warning("API keys not reloaded", reason=str(error))
        return self._keys

    def _read(self) -> Keys:
        try:
            text = self._path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = type(error).__name__
            message = f"TICKERTAPE_API_KEYS: {self._path} cannot be read: {reason}"
            raise SettingsInvalid(message) from None
        if text and not text.endswith("\n"):
            # A line that is cut short may have lost the options that limit its key.
            raise SettingsInvalid(
                f"TICKERTAPE_API_KEYS: {self._path} ends in the middle of a line: end the last line"
            )
        return parse_keys(text)


CurrentKeys: TypeAlias = Callable[[], Keys]
"""Returns the keys that are valid now."""


def keys_from(
    settings: Settings, reload_interval_s: float = RELOAD_INTERVAL_S
) -> CurrentKeys | None:
    """A function that returns the valid keys, None for an open API; raises SettingsInvalid."""
    if settings.api_keys is None:
        return None
    text = settings.api_keys.get_secret_value().strip()
    if text.startswith("@"):
        return KeyFile(Path(text[1:]), reload_interval_s)
    keys = parse_keys(text)
    return lambda: keys


def needs_keys(settings: Settings) -> bool:
    """Whether the settings let in callers with keys only; raises SettingsInvalid."""
    return keys_from(settings) is not None or settings.is_closed
