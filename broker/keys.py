"""Every key and channel, and how a request finds its partition.

A key starts with the hash tag `{pN}:` of its partition. A request, the queue it waits in, its
conversation and its idempotency key share that tag, therefore one cluster slot, therefore every
change of them is one atomic script. The scripts build these same names from the tag of KEYS[1].
"""

import hashlib
import re
import secrets
from base64 import b32encode

_REQUEST_ID = re.compile(r"r(0|[1-9]\d{0,3})_[a-z2-7]{26}", re.ASCII)
_RANDOM_BYTES = 16


def new_request_id(partition: int) -> str:
    """A fresh id that names its partition and carries 128 random bits, for example `r0_mfzw...`."""
    random = b32encode(secrets.token_bytes(_RANDOM_BYTES)).decode().rstrip("=").lower()
    return f"r{partition}_{random}"


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


def digest(*parts: str) -> str:
    """A short name for parts of any length; parts are kept apart, so ("ab", "c") != ("a", "bc")."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:%b" % (len(raw), raw))
    return hashed.hexdigest()[:40]


def choose_partition(partitions: int, affinity: str | None) -> int:
    """The partition of everything that shares this affinity; a random one without affinity."""
    if affinity is None:
        return secrets.randbelow(partitions)
    return int(affinity, 16) % partitions


def tag(partition: int) -> str:
    """The hash tag all keys of a partition begin with."""
    return f"{{p{partition}}}:"


def ring(partition: int) -> str:
    """Tenants with waiting work, taken in turn; also the routing key of the queue scripts."""
    return f"{tag(partition)}ring"


def wake(partition: int) -> str:
    """The list of tokens idle workers block on."""
    return f"{tag(partition)}wake"


def dead(partition: int) -> str:
    """The stream of poison requests."""
    return f"{tag(partition)}dead"


def load(partition: int) -> str:
    """Hash: requests and payload bytes not yet terminal, and when CLAIM was last seen."""
    return f"{tag(partition)}load"


def running(partition: int) -> str:
    """Sorted set of running requests by the end of their lease, in ms."""
    return f"{tag(partition)}running"


def request(request_id: str) -> str:
    """The hash of a request; raises ValueError for a text that is not a request id."""
    return f"{tag(partition_of(request_id))}req:{request_id}"


def log(request_id: str) -> str:
    """The log of a request."""
    return f"{tag(partition_of(request_id))}log:{request_id}"


def log_channel(request_id: str) -> str:
    """Where the entries of a log are pushed as they are written."""
    return f"{tag(partition_of(request_id))}push:{request_id}"


def worker_channel(partition: int, worker: str) -> str:
    """Where a worker is told which of its requests were cancelled."""
    return f"{tag(partition)}push:worker:{worker}"


def conversation(partition: int, conversation_key: str) -> str:
    """The hash of a conversation; its waiting list and its turns add `:wait` and `:turns`."""
    return f"{tag(partition)}conv:{conversation_key}"


def turns(partition: int, conversation_key: str) -> str:
    """The stream of what was asked and answered in a conversation."""
    return f"{conversation(partition, conversation_key)}:turns"


def conversation_channel(partition: int, conversation_key: str) -> str:
    """Where the ids of new requests of a conversation are pushed."""
    return f"{tag(partition)}push:conv:{conversation_key}"


def index(partition: int, tenant: str) -> str:
    """Sorted set of a tenant's readable requests by creation time, in ms."""
    return f"{tag(partition)}index:{tenant}"


def models() -> str:
    """The upstream's model list, written by workers, with a TTL."""
    return f"{tag(0)}models"


def models_fault() -> str:
    """Why a worker could not read that list, with a TTL."""
    return f"{tag(0)}models_fault"


def partition_count() -> str:
    """The number of partitions this Redis was first used with."""
    return f"{tag(0)}partitions"
