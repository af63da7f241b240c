"""The names of every key and channel in Redis, and how a request finds its partition.

A key starts with the hash tag `{pN}:` of its partition, or in a cluster with `{pN.SUFFIX}:`, where
the suffix chooses the slot (partition_tags.py). A request, its queue, its conversation and
its idempotency key share that tag and therefore one cluster slot, so that one atomic script can
change all of them. The scripts build the same names from the tag of KEYS[1]; a test compares both
sides. Some names below are built by scripts alone, and stand here because this is their list.
system_keys.py has the names of what a system has only once.
"""

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache

from tickertape.broker.partition_tags import spread_tag
from tickertape.broker.pools import UPSTREAM, after_name, in_pool
from tickertape.broker.request_ids import partition_of
from tickertape.broker.system_keys import SystemKeys

_PARTITION_OF_TAG = re.compile(rb"\{(?:[^{}.]+\.)?p(\d+)(?:\.[a-z]+)?\}")


def digest(*parts: str) -> str:
    """A short name for parts of any length; ("ab", "c") and ("a", "bc") have different names."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode("utf-8", "surrogatepass")
        hashed.update(b"%d:%b" % (len(raw), raw))
    return hashed.hexdigest()[:40]


@lru_cache(maxsize=4096)
def partition_of_name(name: bytes) -> int:
    """The partition of a key or a channel; raises ValueError for any other name."""
    found = _PARTITION_OF_TAG.match(name)
    if found is None:
        message = "not the name of a key"
        raise ValueError(message)
    return int(found[1])


@dataclass(frozen=True)
class Keyspace(SystemKeys):
    """The names of all keys and channels of one system.

    Systems with different namespaces share a Redis without seeing each other. The namespace is part
    of the hash tag: `{NAMESPACE.pN}:`, and `{pN}:` without one. In a cluster, `is_spread` adds a
    suffix to each tag, so that the partitions are spread evenly over the slots.
    """

    namespace: str = ""
    is_spread: bool = False
    _tags: dict[int, str] = field(default_factory=dict, init=False, compare=False, repr=False)

    def tag(self, partition: int) -> str:
        """The hash tag that all keys of a partition begin with."""
        # A request asks for the tag of its partition ten times.
        if (known := self._tags.get(partition)) is None:
            known = self._tags[partition] = f"{{{self.tag_text(partition)}}}:"
        return known

    def tag_text(self, partition: int) -> str:
        """The text between the braces of a hash tag, which decides about the slot."""
        name = f"{self.namespace}.p{partition}" if self.namespace else f"p{partition}"
        return spread_tag(name, partition) if self.is_spread else name

    # The queue of a partition

    # Each pool has these keys, and the key of the workers that are idle. Most scripts get the ring
    # of the upstream.

    def ring(self, partition: int, pool: str = UPSTREAM) -> str:
        """List: tenants with waiting requests, claimed in turn.

        `<tenant>~` stands for all users of a tenant.
        """
        return f"{self.tag(partition)}ring{after_name(pool)}"

    def waiting(self, partition: int, tenant: str, pool: str = UPSTREAM) -> str:
        """List: the waiting requests of a tenant, in order."""
        return f"{self.tag(partition)}wait:{in_pool(pool, tenant)}"

    def users_in_turn(self, partition: int, tenant: str, pool: str = UPSTREAM) -> str:
        """List: the users of a tenant with waiting requests, claimed in the turns of the tenant."""
        return f"{self.tag(partition)}users:{in_pool(pool, tenant)}"

    def suspect(self, partition: int, pool: str = UPSTREAM) -> str:
        """List: waiting requests that are one crash short of poison."""
        return f"{self.tag(partition)}suspect{after_name(pool)}"

    def newer(self, partition: int, pool: str = UPSTREAM) -> str:
        """Sorted set: waiting requests that need a newer worker, by their format."""
        return f"{self.tag(partition)}newer{after_name(pool)}"

    def pools(self, partition: int) -> str:
        """Set: the functions that have waiting requests, or had some lately."""
        return f"{self.tag(partition)}pools"

    def running(self, partition: int) -> str:
        """Sorted set: running requests by the end of their lease, in ms."""
        return f"{self.tag(partition)}running"

    def delayed(self, partition: int) -> str:
        """Sorted set: delayed requests by the time at which they are due, in ms."""
        return f"{self.tag(partition)}delayed"

    def idle(self, partition: int, pool: str = UPSTREAM) -> str:
        """Sorted set: workers that wait for a wake, by the time of their last claim, in ms."""
        return f"{self.tag(partition)}idle{after_name(pool)}"

    def wake(self, partition: int) -> str:
        """List: the tokens that idle workers of version 0.1 block on."""
        return f"{self.tag(partition)}wake"

    def claim(self, partition: int, nonce: str) -> str:
        """String: the request that a claim leased, which a repeated claim returns again."""
        return f"{self.tag(partition)}claim:{nonce}"

    def load(self, partition: int) -> str:
        """Hash: count and bytes of the requests that are not over; time of the last claim."""
        return f"{self.tag(partition)}load"

    def busy(self, partition: int) -> str:
        """Hash: how many requests of each tenant run."""
        return f"{self.tag(partition)}busy"

    def owed(self, partition: int) -> str:
        """Hash: the bytes of the requests of each tenant that are not over."""
        return f"{self.tag(partition)}owed"

    def crowd(self, partition: int) -> str:
        """Hash: how many requests of the users of each tenant are not over."""
        return f"{self.tag(partition)}crowd"

    def kept(self, partition: int) -> str:
        """Sorted set: tenants by the bytes that are kept of them until they expire."""
        return f"{self.tag(partition)}kept"

    def aging(self, partition: int) -> str:
        """Sorted set: tenants by the time in ms at which some of their kept bytes expire."""
        return f"{self.tag(partition)}aging"

    def weights(self, partition: int) -> str:
        """Hash: the weight of each tenant that has another one than 1."""
        return f"{self.tag(partition)}weights"

    def dead(self, partition: int) -> str:
        """Stream: poison requests."""
        return f"{self.tag(partition)}dead"

    def uncompacted(self, partition: int) -> str:
        """Sorted set: ended requests whose logs will be compacted, by the time of the end in ms."""
        return f"{self.tag(partition)}uncompacted"

    def erasures(self, partition: int) -> str:
        """Hash: how often something was erased, and how much of that the files have lost."""
        return f"{self.tag(partition)}erasures"

    def rewriting(self, partition: int) -> str:
        """String: whose turn it is to have the append-only file rewritten, with a TTL."""
        return f"{self.tag(partition)}rewriting"

    def epoch(self, partition: int) -> str:
        """String: submits that were routed by a map before this epoch are refused."""
        return f"{self.tag(partition)}epoch"

    def outbox(self, partition: int, consumer: str) -> str:
        """Stream: the requests that have ended, and that a consumer has not been handed yet."""
        return f"{self.tag(partition)}outbox:{consumer}"

    def outboxed(self, partition: int) -> str:
        """Hash: for each consumer, who serves it, the bytes that are held, and what was lost."""
        return f"{self.tag(partition)}outboxed"

    def repeats(self, partition: int) -> str:
        """Sorted set: webhooks (JSON) that are sent again, by the time at which they are due."""
        return f"{self.tag(partition)}repeats"

    def given_up(self, partition: int) -> str:
        """Sorted set: requests with webhooks that were given up, by the time in ms."""
        return f"{self.tag(partition)}given_up"

    def erased(self, partition: int) -> str:
        """Sorted set: erased requests that the history may still have, by the time in ms."""
        return f"{self.tag(partition)}erased"

    # A request

    def request(self, request_id: str) -> str:
        """Hash: a request; raises ValueError for a text that is not a request id."""
        return f"{self.tag(partition_of(request_id))}req:{request_id}"

    def log(self, request_id: str) -> str:
        """Stream: the log of a request."""
        return f"{self.tag(partition_of(request_id))}log:{request_id}"

    def record(self, request_id: str) -> str:
        """Hash: what the history needs of a request that has ended."""
        return f"{self.tag(partition_of(request_id))}record:{request_id}"

    def given_up_of(self, request_id: str) -> str:
        """List: the webhooks (JSON) of a request that were given up."""
        return f"{self.tag(partition_of(request_id))}given_up:{request_id}"

    def exchange(self, request_id: str) -> str:
        """Hash: what a response was asked and answered, for the responses that follow it."""
        return f"{self.tag(partition_of(request_id))}exchange:{request_id}"

    def idempotency(self, partition: int, idempotency_key: str) -> str:
        """String: the fingerprint and the request id of an idempotency key, given as its digest."""
        return f"{self.tag(partition)}idem:{idempotency_key}"

    def tries(self, partition: int, name: str) -> str:
        """String: the ids of the latest requests of calls that SDKs repeat; named by `Tries`."""
        return f"{self.tag(partition)}tries:{name}"

    # A conversation

    def conversation(self, partition: int, conversation_key: str) -> str:
        """Hash: the active request of a conversation, or since when the conversation is idle."""
        return f"{self.tag(partition)}conv:{conversation_key}"

    def held(self, partition: int, conversation_key: str) -> str:
        """List: requests that wait for the active request of their conversation."""
        return f"{self.conversation(partition, conversation_key)}:wait"

    def turns(self, partition: int, conversation_key: str) -> str:
        """Stream: the questions and answers of a conversation."""
        return f"{self.conversation(partition, conversation_key)}:turns"

    # A tenant

    def in_flight(self, partition: int, tenant: str) -> str:
        """Set: the requests of a tenant that are not over."""
        return f"{self.tag(partition)}tenant:{tenant}"

    def seats(self, partition: int, tenant: str) -> str:
        """Hash: the requests of a tenant in all partitions, in the tenant's home partition."""
        return f"{self.tag(partition)}seats:{tenant}"

    def rates(self, partition: int, name: str) -> str:
        """Hash: what a tenant or a user has used up of its limits; in the home of the tenant."""
        return f"{self.tag(partition)}rates:{name}"

    def unsettled(self, partition: int) -> str:
        """Stream: what ended requests have used of limits that another partition counts."""
        return f"{self.tag(partition)}unsettled"

    def settled(self, partition: int) -> str:
        """Hash: the last request of each other partition that was settled in this one."""
        return f"{self.tag(partition)}settled"

    def kept_of(self, partition: int, tenant: str) -> str:
        """Hash: the bytes that are kept of a tenant, by the time in s at which they expire."""
        return f"{self.tag(partition)}kept:{tenant}"

    def index(self, partition: int, tenant: str) -> str:
        """Sorted set: the readable requests of a tenant by creation time, in ms."""
        return f"{self.tag(partition)}index:{tenant}"

    def tenants(self, partition: int) -> str:
        """Set: the tenants that have requests that are not over."""
        return f"{self.tag(partition)}tenants"

    def conversations(self, partition: int, tenant: str) -> str:
        """Sorted set: the conversations of a tenant by the time of their latest request, in ms."""
        return f"{self.tag(partition)}convs:{tenant}"

    def expiry(self, partition: int, tenant: str) -> str:
        """Sorted set: ended requests of a tenant by the time at which they expire, in ms."""
        return f"{self.tag(partition)}expiry:{tenant}"

    # Channels

    def log_channel(self, request_id: str) -> str:
        """Carries the entries of a log as they are written, and the notices about the log."""
        return f"{self.tag(partition_of(request_id))}push:{request_id}"

    def erased_channel(self, partition: int) -> str:
        """Carries the ids of requests that were erased, for what processes keep of their logs."""
        return f"{self.tag(partition)}push:erased"

    def conversation_channel(self, partition: int, conversation_key: str) -> str:
        """Carries the ids of the new requests of a conversation."""
        return f"{self.tag(partition)}push:conv:{conversation_key}"

    def worker_channel(self, partition: int, worker: str) -> str:
        """Carries WAKE, and the ids of requests that were cancelled while this worker ran them."""
        return f"{self.tag(partition)}push:worker:{worker}"

    def watchers(self, partition: int, conversation_key: str) -> str:
        """Hash: the readers of a conversation that each API process has, and until when."""
        return f"{self.tag(partition)}watch:{conversation_key}"
