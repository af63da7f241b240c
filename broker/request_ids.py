"""Request ids, which name the partition of their request."""

import re
import secrets
from functools import lru_cache

_REQUEST_ID = re.compile(r"r(0|[1-9]\d{0,3})_[a-z2-7]{26}", re.ASCII)
# The letter of each byte, so that each letter has five random bits.
_LETTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8
_RANDOM_LETTERS = 26


def new_request_id(partition: int) -> str:
    """A new id that names its partition and has 130 random bits, for example `r0_mfzw...`."""
    random = secrets.token_bytes(_RANDOM_LETTERS).translate(_LETTERS)
    return f"r{partition}_{random.decode()}"


# A request asks for the partition of its own id a dozen times.
@lru_cache(maxsize=4096)
def parse_partition(text: str) -> int | None:
    """The partition that a request id names, or None when the text is not a request id."""
    match = _REQUEST_ID.fullmatch(text)
    return int(match[1]) if match else None


def partition_of(request_id: str) -> int:
    """The partition that a request id names; raises ValueError for any other text."""
    partition = parse_partition(request_id)
    if partition is None:
        message = "not a request id"
        raise ValueError(message)
    return partition
