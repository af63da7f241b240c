"""API keys, which identify the tenant of a call. They may be reloaded from a file.

Only the SHA-256 of a key is kept, and it is compared in constant time. Without keys the API is
open, all callers are one tenant, and the guards accept calls from this machine only.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.error_forms import ErrorForms
from tickertape.api.edge.problems import Problem
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

logger = structlog.get_logger("api")

OPEN_TENANT = "public"
_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_OPTION = re.compile(r"\s+([a-z_]+)=(\S*)", re.ASCII)
_KEPT = ("retention_s", "conversation_ttl_s")
_MOST_SECONDS = 31_536_000
RELOAD_INTERVAL_S = 1.0
_FORMAT = "use tenant:key,tenant:key or @file with one tenant:key a line"


class Keys:
    """Tenants by the hashes of their keys; a tenant may have several keys."""

    def __init__(
        self, tenants: dict[bytes, str], kept_s: Mapping[str, Mapping[str, int]] | None = None
    ) -> None:
        self._tenants = tenants
        self._kept_s = kept_s or {}

    def tenant_of(self, key: str) -> str | None:
        """The tenant of a key, None for an unknown key. The time does not depend on the result."""
        key_digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        key_tenant = None
        for digest, tenant in self._tenants.items():
            if hmac.compare_digest(digest, key_digest):
                key_tenant = tenant
        return key_tenant

    def retention(self, tenant: str) -> tuple[int | None, int | None]:
        """For how many seconds requests and conversations of a tenant are kept; None if not set."""
        kept_s = self._kept_s.get(tenant, {})
        return kept_s.get("retention_s"), kept_s.get("conversation_ttl_s")

    def lists_as_hash(self, key: str) -> bool:
        """Whether the text is a listed hash, which a caller sent in place of the key."""
        return bool(_SHA256_HEX.fullmatch(key)) and bytes.fromhex(key) in self._tenants


def parse_keys(text: str) -> Keys:
    """Read `tenant:key` items, separated by commas or lines; `#` begins a comment line.

    A key is plain text, or its SHA-256 as 64 hex digits. Behind a key, `retention_s=N` and
    `conversation_ttl_s=N` shorten how long the tenant's data is kept. Raises SettingsInvalid,
    without the key.
    """
    tenants: dict[bytes, str] = {}
    kept_s: dict[str, dict[str, int]] = {}
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    items = [item.strip() for item in ",".join(lines).split(",")]
    for number, item in enumerate(filter(None, items), 1):
        words = _OPTION.split(item)
        tenant, colon, key = words[0].partition(":")
        if not colon or not key or not _TENANT.fullmatch(tenant) or any(words[3::3]):
            raise SettingsInvalid(f"TICKERTAPE_API_KEYS: item {number} is wrong: {_FORMAT}")
        is_hash = _SHA256_HEX.fullmatch(key)
        tenants[bytes.fromhex(key) if is_hash else hashlib.sha256(key.encode()).digest()] = tenant
        for name, value in zip(words[1::3], words[2::3], strict=True):
            own = kept_s.setdefault(tenant, {})
            own[name] = min(_seconds(number, name, value), own.get(name, _MOST_SECONDS))
    if not tenants:
        raise SettingsInvalid(f"TICKERTAPE_API_KEYS holds no key: {_FORMAT}")
    return Keys(tenants, kept_s)


def _seconds(number: int, name: str, value: str) -> int:
    if name not in _KEPT:
        reason = f"there is no {name}, only {' and '.join(_KEPT)}"
    elif not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= _MOST_SECONDS:
        reason = f"{name} is not a number of seconds from 1 to {_MOST_SECONDS}"
    else:
        return int(value[:9])
    raise SettingsInvalid(f"TICKERTAPE_API_KEYS: item {number} is wrong: {reason}")


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
        self._stamp = self._stamp_now()
        self._keys = self._read()

    def current(self) -> Keys:
        """The keys, at most one interval behind the file. While it is wrong, the last good keys."""
        if self._clock() - self._checked_s < self._reload_interval_s:
            return self._keys
        self._checked_s = self._clock()
        if (stamp := self._stamp_now()) != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
            except SettingsInvalid as error:
                logger.warning("API keys not reloaded", reason=str(error))
        return self._keys

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def _read(self) -> Keys:
        try:
            return parse_keys(self._path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = type(error).__name__
            message = f"TICKERTAPE_API_KEYS: {self._path} cannot be read: {reason}"
            raise SettingsInvalid(message) from None


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
        return KeyFile(Path(text[1:]), reload_interval_s).current
    keys = parse_keys(text)
    return lambda: keys


class Authentication:
    """Identifies the tenant of a call before its body is read, or answers 401.

    A path that `is_public` needs no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        forms: ErrorForms,
        keys: CurrentKeys | None,
        is_public: Callable[[str], bool],
    ) -> None:
        self._app = app
        self._forms = forms
        self._keys = keys
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["tenant"] = self._tenant(scope)
            except Problem as problem:
                await self._forms.respond(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tenant(self, scope: Scope) -> str | None:
        if self._keys is None:
            return OPEN_TENANT
        if self._is_public(scope["path"]):
            return None
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("An API key is required: send it as `Authorization: Bearer <key>`.")
        keys = self._keys()
        tenant = keys.tenant_of(key.strip())
        if tenant is None:
            raise _unauthorized(
                "This is the hash of an API key: send the key itself. (A key that is itself 64 hex "
                "digits has to be listed by its SHA-256.)"
                if keys.lists_as_hash(key.strip())
                else "This API key is unknown."
            )
        return tenant


def _unauthorized(message: str) -> Problem:
    return Problem(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
