"""Every key and channel in Redis, and how a request finds its partition.

A key starts with the hash tag `{pN}:` of its partition. A request, its queue, its conversation and
its idempotency key share that tag and therefore one cluster slot, so that one atomic script can
change all of them. The scripts build the same names from the tag of KEYS[1]; a test compares both
sides. Some names below are built by scripts alone, and stand here because this is their list.
"""

import hashlib
import re
import secrets
from base64 import b32encode

_REQUEST_ID = re.compile(r"r(0|[1-9]\d{0,3})_[a-z2-7]{26}", re.ASCII)
_RANDOM_BYTES = 16


def new_request_id(partition: int) -> str:
    """A new id that names its partition and has 128 random bits, for example `r0_mfzw...`."""
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
    """A short name for parts of any length; ("ab", "c") and ("a", "bc") have different names."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:%b" % (len(raw), raw))
    return hashed.hexdigest()[:40]


def choose_partition(partitions: int, affinity: str | None) -> int:
    """The partition of all requests that share this affinity; without one, a random partition."""
    if affinity is None:
        return secrets.randbelow(partitions)
    return int(affinity, 16) % partitions


def tag(partition: int) -> str:
    """The hash tag that all keys of a partition begin with."""
    return f"{{p{partition}}}:"


# The queue of a partition


def ring(partition: int) -> str:
    """List: tenants with waiting requests, claimed in turn; most scripts get this key."""
    return f"{tag(partition)}ring"


def waiting(partition: int, tenant: str) -> str:
    """List: the waiting requests of a tenant, in order."""
    return f"{tag(partition)}wait:{tenant}"


def suspect(partition: int) -> str:
    """List: waiting requests that are one crash short of poison."""
    return f"{tag(partition)}suspect"


def running(partition: int) -> str:
    """Sorted set: running requests by the end of their lease, in ms."""
    return f"{tag(partition)}running"


def delayed(partition: int) -> str:
    """Sorted set: delayed requests by the time at which they are due, in ms."""
    return f"{tag(partition)}delayed"


def wake(partition: int) -> str:
    """List: the tokens that idle workers block on."""
    return f"{tag(partition)}wake"


def claim(partition: int, nonce: str) -> str:
    """String: the request that a claim leased, so that a repeated claim returns the same one."""
    return f"{tag(partition)}claim:{nonce}"


def load(partition: int) -> str:
    """Hash: count and bytes of the requests that are not over, and the time of the last claim."""
    return f"{tag(partition)}load"


def dead(partition: int) -> str:
    """Stream: poison requests."""
    return f"{tag(partition)}dead"


# A request


def request(request_id: str) -> str:
    """Hash: a request; raises ValueError for a text that is not a request id."""
    return f"{tag(partition_of(request_id))}req:{request_id}"


def log(request_id: str) -> str:
    """Stream: the log of a request."""
    return f"{tag(partition_of(request_id))}log:{request_id}"


def idempotency(partition: int, idempotency_key: str) -> str:
    """String: the fingerprint and the request id of an idempotency key, given as its digest."""
    return f"{tag(partition)}idem:{idempotency_key}"


# A conversation


def conversation(partition: int, conversation_key: str) -> str:
    """Hash: the active request of a conversation, or since when the conversation is idle."""
    return f"{tag(partition)}conv:{conversation_key}"


def held(partition: int, conversation_key: str) -> str:
    """List: requests that wait for the active request of their conversation."""
    return f"{conversation(partition, conversation_key)}:wait"


def turns(partition: int, conversation_key: str) -> str:
    """Stream: the questions and answers of a conversation."""
    return f"{conversation(partition, conversation_key)}:turns"


# A tenant


def in_flight(partition: int, tenant: str) -> str:
    """Set: the requests of a tenant that are not over."""
    return f"{tag(partition)}tenant:{tenant}"


def index(partition: int, tenant: str) -> str:
    """Sorted set: the readable requests of a tenant by creation time, in ms."""
    return f"{tag(partition)}index:{tenant}"


def conversations(partition: int, tenant: str) -> str:
    """Sorted set: the conversations of a tenant by the time of their latest request, in ms."""
    return f"{tag(partition)}convs:{tenant}"


def expiry(partition: int, tenant: str) -> str:
    """Sorted set: ended requests of a tenant by the time at which they expire, in ms."""
    return f"{tag(partition)}expiry:{tenant}"


# Channels


def log_channel(request_id: str) -> str:
    """Carries the entries of a log as they are written, and the notices about the log."""
    return f"{tag(partition_of(request_id))}push:{request_id}"


def conversation_channel(partition: int, conversation_key: str) -> str:
    """Carries the ids of the new requests of a conversation."""
    return f"{tag(partition)}push:conv:{conversation_key}"


def worker_channel(partition: int, worker: str) -> str:
    """Carries the ids of requests that were cancelled while this worker ran them."""
    return f"{tag(partition)}push:worker:{worker}"


def watchers(partition: int, conversation_key: str) -> str:
    """Hash: how many readers of a conversation each API process has, and until when that holds."""
    return f"{tag(partition)}watch:{conversation_key}"


# One for all partitions


def fleet() -> str:
    """Set: the names of the workers and API processes that report themselves."""
    return f"{tag(0)}fleet"


def report(member: str) -> str:
    """String: the last report of a worker or an API process, with a TTL of a few seconds."""
    return f"{tag(0)}report:{member}"


def models() -> str:
    """String: the upstream's model list, written by workers, with a TTL."""
    return f"{tag(0)}models"


def models_fault() -> str:
    """String: why a worker could not read the model list, with a TTL."""
    return f"{tag(0)}models_fault"


def upstream() -> str:
    """String: the upstream of the `tickertape up` that first used this Redis."""
    return f"{tag(0)}upstream"


def partition_count() -> str:
    """String: the number of partitions that this Redis was first used with."""
    return f"{tag(0)}partitions"
