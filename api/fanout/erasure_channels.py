"""The channels on which erased requests are announced, one for each partition."""

from tickertape.broker.keys import Keyspace
from tickertape.broker.partitions import Partitions
from tickertape.broker.push import Push


class ErasureChannels:
    """Subscribes to erasures, so that a process keeps no log that was erased."""

    def __init__(self, keys: Keyspace, partitions: Partitions, push: Push) -> None:
        self._keys = keys
        self._partitions = partitions
        self._push = push
        self._names: set[bytes] = set()

    def subscribe(self) -> None:
        """Subscribe for every partition. Called again, it adds those that have come since."""
        for partition in range(self._partitions.served):
            name = self._keys.erased_channel(partition).encode()
            if name not in self._names:
                self._names.add(name)
                self._push.subscribe(name)

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._names
