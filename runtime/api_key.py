"""Pure: the text of an API key that Tickertape generates, and its digest.

`tt_`, 40 random characters, and 6 that check them. The prefix lets secret scanners find a key that
was published, and the check finds a typing error without a look into Redis.
"""

import hashlib
import hmac
import re
import secrets
import zlib

PREFIX = "tt_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_RANDOM_CHARS = 40
_CHECK_CHARS = 6
_FORM = re.compile(r"tt_[0-9A-Za-z]{46}", re.ASCII)


def new_key() -> str:
    """A new key, with 238 random bits."""
    body = "".join(secrets.choice(_DIGITS) for _ in range(_RANDOM_CHARS))
    return f"{PREFIX}{body}{_check(body)}"


def is_key(text: str) -> bool:
    """Whether the text has the form of a generated key, and its check fits."""
    return bool(_FORM.fullmatch(text)) and text[-_CHECK_CHARS:] == _check(
        text[len(PREFIX) : -_CHECK_CHARS]
    )


def digest(key: str, secret: str | None) -> str:
    """What Redis keeps of a key: its HMAC with the server's secret, else its SHA-256, in hex."""
    raw = key.encode("utf-8", "surrogateescape")
    if secret is None:
        return hashlib.sha256(raw).hexdigest()
    return hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def _check(body: str) -> str:
    number, text = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_CHARS):
        number, digit = divmod(number, len(_DIGITS))
        text = _DIGITS[digit] + text
    return text
