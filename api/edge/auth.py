"""API keys: who a caller is. Pure lookups over a list of keys that may be reloaded from a file.

Keys are held as SHA-256 only, and compared in constant time. Without keys the API is open and all
callers are one tenant; then the guards keep it on this machine.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tickertape.api.edge.problems import Problem, respond
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.settings import Settings

log = structlog.get_logger("api")

OPEN_TENANT = "public"
_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)
_SHA256_HEX = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_LOOK_AGAIN_S = 1.0
_SHAPE = "use tenant:key,tenant:key or @file with one tenant:key a line"


class Keys:
    """Tenants by the hashes of their keys; a tenant may have several keys."""

    def __init__(self, tenants: dict[bytes, str]) -> None:
        self._tenants = tenants

    def tenant_of(self, key: str) -> str | None:
        """The tenant this key belongs to. Takes the same time whether, and where, one matches."""
        given = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found = None
        for digest, tenant in self._tenants.items():
            if hmac.compare_digest(digest, given):
                found = tenant
        return found

    def lists_as_hash(self, key: str) -> bool:
        """Whether this very text stands in the list, where 64 hex digits are a key's hash."""
        return bool(_SHA256_HEX.fullmatch(key)) and bytes.fromhex(key) in self._tenants


def parse_keys(text: str) -> Keys:
    """Read `tenant:key` items, parted by commas or lines; `#` begins a comment line.

    A key is plain, or 64 hex digits: its SHA-256. Raises SettingsInvalid, never quoting a key.
    """
    tenants: dict[bytes, str] = {}
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    items = [item.strip() for item in ",".join(lines).split(",")]
    for number, item in enumerate(filter(None, items), 1):
        tenant, colon, key = item.partition(":")
        if not colon or not key or not _TENANT.fullmatch(tenant):
            raise SettingsInvalid(f"TICKERTAPE_API_KEYS: item {number} is wrong: {_SHAPE}")
        is_hash = _SHA256_HEX.fullmatch(key)
        tenants[bytes.fromhex(key) if is_hash else hashlib.sha256(key.encode()).digest()] = tenant
    if not tenants:
        raise SettingsInvalid(f"TICKERTAPE_API_KEYS holds no key: {_SHAPE}")
    return Keys(tenants)


class KeyFile:
    """Keys in a file that may be edited while we run; raises SettingsInvalid if it is wrong now."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked_s = clock()
        self._stamp = self._stamp_now()
        self._keys = self._read()

    def current(self) -> Keys:
        """The keys, at most a second behind the file; while it is wrong, the last good ones."""
        if self._clock() - self._looked_s < _LOOK_AGAIN_S:
            return self._keys
        self._looked_s = self._clock()
        if (stamp := self._stamp_now()) != self._stamp:
            self._stamp = stamp
            try:
                self._keys = self._read()
            except SettingsInvalid as error:
                log.warning("API keys not reloaded", reason=str(error))
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


# Gives the keys that are good now.
CurrentKeys: TypeAlias = Callable[[], Keys]


def keys_from(settings: Settings) -> CurrentKeys | None:
    """What gives the keys that are good now, None for an open API; raises SettingsInvalid."""
    if settings.api_keys is None:
        return None
    text = settings.api_keys.get_secret_value().strip()
    if text.startswith("@"):
        return KeyFile(Path(text[1:])).current
    keys = parse_keys(text)
    return lambda: keys


class Authentication:
    """Finds the tenant of a call before anything of its body is read, or answers 401.

    `public` are the paths that need no key.
    """

    def __init__(self, app: ASGIApp, *, keys: CurrentKeys | None, public: frozenset[str]) -> None:
        self._app = app
        self._keys = keys
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one call."""
        if scope["type"] == "http":
            try:
                scope.setdefault("state", {})["tenant"] = self._tenant(scope)
            except Problem as problem:
                await respond(problem, scope["path"])(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _tenant(self, scope: Scope) -> str | None:
        if self._keys is None:
            return OPEN_TENANT
        if scope["path"] in self._public:
            return None
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise _unauthorized("An API key is needed: send it as `Authorization: Bearer <key>`.")
        keys = self._keys()
        tenant = keys.tenant_of(key.strip())
        if tenant is None:
            raise _unauthorized(
                "This is the hash of an API key: send the key itself. (A key that is itself 64 hex "
                "digits has to be listed by its SHA-256.)"
                if keys.lists_as_hash(key.strip())
                else "This API key is not known."
            )
        return tenant


def _unauthorized(message: str) -> Problem:
    return Problem(401, "invalid_api_key", message, headers={"WWW-Authenticate": "Bearer"})
