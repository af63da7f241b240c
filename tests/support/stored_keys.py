"""Keys of callers as records in Redis."""

from tickertape.broker.access import AccessRecords, KeyRecord
from tickertape.cli.inspect.keys import SCOPES
from tickertape.runtime import api_key


async def add_key(
    access: AccessRecords,
    tenant: str,
    key_id: str = "1",
    *,
    secret: str | None = None,
    **fields: object,
) -> str:
    """A new key of a tenant, with all scopes; `secret` is that of the server."""
    key = api_key.new_key()
    record = KeyRecord(
        key_id=key_id,
        tenant=tenant,
        scopes=SCOPES,
        created_ms=1,
        **fields,  # type: ignore[arg-type]  # as named
    )
    await access.add(api_key.digest(key, secret), record)
    return key
