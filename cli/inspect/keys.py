"""`tickertape keys`: adds, lists and revokes the API keys that Redis keeps. For operators."""

import asyncio
import re
import secrets
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tickertape.broker.access import AccessRecords, KeyRecord
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Refused, Unavailable
from tickertape.broker.principals import is_tenant_name
from tickertape.cli.exits import CommandFailed, Exit
from tickertape.cli.inspect.operator_audit import audited
from tickertape.cli.inspect.redis_url import command_failed, redis_url
from tickertape.runtime import api_key
from tickertape.runtime.environment import load_settings
from tickertape.runtime.settings import Settings
from tickertape.runtime.signing_secrets import secrets_of

# `metrics` and `admin` show the numbers of all tenants.
_OWN_SCOPES = ("submit", "read", "cancel", "erase", "list")
SCOPES = (*_OWN_SCOPES, "metrics", "admin")
_AGE = re.compile(r"(\d{1,4})([mhd])", re.ASCII)
_UNITS_S = {"m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What the options of `tickertape keys add` say."""

    scopes: str | None = None
    models: str | None = None
    expires: str | None = None
    name: str = ""


def run(action: str, subject: str | None, new: NewKey, *, data_dir: Path) -> int:
    """Add a key for the tenant, list all keys, or revoke one by its id; returns the exit code.

    Raises CommandFailed, SettingsInvalid.
    """
    settings = load_settings()
    if action != "list" and subject is None:
        what = "TENANT" if action == "add" else "KEY_ID"
        raise CommandFailed(f"name it: `tickertape keys {action} {what}`", Exit.USAGE)
    record = _record(subject or "", new) if action == "add" else None
    url = redis_url(settings, data_dir)
    path = f"/keys/{record.key_id if record else subject}" if action != "list" else "/keys"
    tenant = record.tenant if record else None
    try:
        with audited(settings.audit_log, f"keys {action}", path, tenant=tenant):
            return asyncio.run(_run(url, settings, record, subject if action == "revoke" else None))
    except Unavailable as error:
        raise command_failed(error, url) from None
    except Refused as error:
        raise CommandFailed(str(error)) from None


async def _run(url: str, settings: Settings, record: KeyRecord | None, revoked: str | None) -> int:
    connections = Connections(url, namespace=settings.namespace, partitions=settings.partitions)
    try:
        await connections.check_server()
        access = AccessRecords(connections)
        if record is not None:
            await _add(access, settings, record)
        elif revoked is not None:
            return await _revoke(access, revoked)
        else:
            print("\n".join(_line(*each) for each in await access.listed()) or "No keys.")
        return Exit.OK
    finally:
        await connections.aclose()


async def _add(access: AccessRecords, settings: Settings, record: KeyRecord) -> None:
    key = api_key.new_key()
    secret, *_ = secrets_of(settings.key_secret) or (None,)
    await access.add(api_key.digest(key, secret), record)
    # The key alone is printed to the output, so that it can be piped into a secret store.
    print(key)
    _say(f"key {record.key_id} of tenant {record.tenant}: store it now, it is shown only once")
    if settings.api_keys is None and not settings.require_keys:
        _say("set TICKERTAPE_REQUIRE_KEYS=1 for the API, so that it never starts open")


async def _revoke(access: AccessRecords, key_id: str) -> int:
    if not await access.revoke(key_id):
        raise CommandFailed(f"there is no key {key_id}: `tickertape keys list` shows the ids")
    print(f"{key_id}  revoked; its streams end within 5 seconds")
    return Exit.OK


def _record(tenant: str, new: NewKey) -> KeyRecord:
    if not is_tenant_name(tenant):
        raise CommandFailed(
            "a tenant is 1 to 64 of the characters A-Z, a-z, 0-9, _, . and -", Exit.USAGE
        )
    scopes = _OWN_SCOPES if new.scopes is None else tuple(filter(None, new.scopes.split("+")))
    if not scopes or not {*scopes} <= {*SCOPES}:
        raise CommandFailed(f"scopes are some of {'+'.join(SCOPES)}", Exit.USAGE)
    models = None if new.models is None else tuple(filter(None, new.models.split("+")))
    if models == ():
        raise CommandFailed(
            "--models names models, such as small+large; leave it out for all", Exit.USAGE
        )
    now_ms = int(time.time() * 1000)
    return KeyRecord(
        key_id=secrets.token_hex(6),
        tenant=tenant,
        scopes=scopes,
        models=models,
        name=new.name,
        created_ms=now_ms,
        expires_ms=None if new.expires is None else now_ms + _age_s(new.expires) * 1000,
    )


def _age_s(text: str) -> int:
    found = _AGE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise CommandFailed("--expires is a time such as 30m, 12h or 90d", Exit.USAGE)
    return int(found[1]) * _UNITS_S[found[2]]


def _line(record: KeyRecord, used_ms: int | None) -> str:
    limits = "all scopes" if {*record.scopes} == {*SCOPES} else "+".join(record.scopes)
    if record.models is not None:
        limits += f"  models {'+'.join(record.models)}"
    if record.expires_ms is not None:
        limits += f"  expires {_date(record.expires_ms)}"
    used = "never used" if used_ms is None else f"last used {_date(used_ms)}"
    name = f"  {record.name}" if record.name else ""
    return f"{record.key_id}  {record.tenant}  {limits}  {used}{name}"


def _date(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(" ", "minutes")


def _say(line: str) -> None:
    print(line, file=sys.stderr)
