"""Pure: the signature of a webhook, as https://www.standardwebhooks.com describes it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

_PREFIX = "whsec_"
_LEAST_BYTES, _MOST_BYTES = 24, 64


def read_secret(text: str) -> bytes:
    """The key in a secret; raises ValueError, without the secret, for anything else."""
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not (text.startswith(_PREFIX) and _LEAST_BYTES <= len(key) <= _MOST_BYTES):
        raise ValueError(
            f"write {_PREFIX} and {_LEAST_BYTES} to {_MOST_BYTES} random bytes in base64, for"
            f' example what `echo "{_PREFIX}$(openssl rand -base64 32)"` prints'
        )
    return key


def signed_headers(
    keys: Sequence[bytes], webhook_id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The headers by which a receiver knows the sender, the body and the time.

    A receiver accepts one signature of several, so that a secret can be replaced without a gap.
    """
    signed = b"%b.%d.%b" % (webhook_id.encode(), timestamp_s, body)
    signatures = [
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    ]
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }
