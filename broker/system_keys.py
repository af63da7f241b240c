"""The names of the keys that a system has once, all in partition 0, and not in each partition."""

from abc import ABC, abstractmethod


class SystemKeys(ABC):
    """The names of these keys of one system. `Keyspace` has all of its names."""

    @abstractmethod
    def tag(self, partition: int) -> str:
        """The hash tag that all keys of a partition begin with."""

    def fleet(self) -> str:
        """Set: the names of the workers and API processes that report themselves."""
        return f"{self.tag(0)}fleet"

    def report(self, member: str) -> str:
        """String: the last report of a worker or an API process, with a TTL of a few seconds."""
        return f"{self.tag(0)}report:{member}"

    def announced(self) -> str:
        """Set: the pools that workers have announced lately."""
        return f"{self.tag(0)}announced"

    def announcement(self, pool: str) -> str:
        """String: exists for an hour after a worker has last announced that it serves a pool."""
        return f"{self.tag(0)}announced:{pool}"

    def models(self) -> str:
        """String: the upstream's model list, written by workers, with a TTL."""
        return f"{self.tag(0)}models"

    def models_fault(self) -> str:
        """String: why a worker could not read the model list, with a TTL."""
        return f"{self.tag(0)}models_fault"

    def upstream(self) -> str:
        """String: the upstream of the `tickertape up` that first used this Redis."""
        return f"{self.tag(0)}upstream"

    def minute(self, upstream: str) -> str:
        """Hash: the calls and tokens of an upstream in each half second of the last minute."""
        return f"{self.tag(0)}minute:{upstream}"

    def entered(self, upstream: str, call: str) -> str:
        """String: when a call of an upstream was let in, and its reserved tokens, with a TTL."""
        return f"{self.tag(0)}minute:{upstream}:{call}"

    def agreement(self) -> str:
        """Hash: the format of the data, and the settings that all processes share."""
        return f"{self.tag(0)}agreement"

    def access(self) -> str:
        """Hash: how many times access has changed, and the secret of tickets."""
        return f"{self.tag(0)}access"

    def api_keys(self) -> str:
        """Hash: the records of API keys (JSON) by the digests of the keys."""
        return f"{self.tag(0)}keys"

    def key_ids(self) -> str:
        """Hash: the digests of API keys by their ids."""
        return f"{self.tag(0)}key_ids"

    def key_uses(self) -> str:
        """Hash: when API keys were last used, in ms, by their ids."""
        return f"{self.tag(0)}key_uses"

    def revoked(self) -> str:
        """Sorted set: tickets that are revoked, by the time from which they are void, in ms."""
        return f"{self.tag(0)}revoked"

    def partition_map(self) -> str:
        """String: the partition map (JSON)."""
        return f"{self.tag(0)}map"

    def partition_count(self) -> str:
        """String: the number of partitions, for version 0.1; 0 while earlier maps are kept."""
        return f"{self.tag(0)}partitions"
