"""What Redis pushes to a worker: wakes, and cancellations of requests that it runs."""

from tickertape.broker.connections import Connections
from tickertape.broker.keys import Keyspace
from tickertape.broker.push import Push
from tickertape.broker.queue import WAKE
from tickertape.worker.consumer import Consumer


class WorkerChannels:
    """Passes pushes to the consumer.

    A lost wake or cancellation costs only time: the consumer looks at every partition from time to
    time, and the next write of a cancelled request is fenced.
    """

    def __init__(self, consumer: Consumer, keys: Keyspace, worker: str) -> None:
        self._consumer = consumer
        self._keys = keys
        self._worker = worker
        self._partitions: dict[bytes, int] = {}

    def added(self, partitions: int) -> list[bytes]:
        """The channels to subscribe to as well, so that each of the partitions has one."""
        more = range(len(self._partitions), partitions)
        added = {self._keys.worker_channel(n, self._worker).encode(): n for n in more}
        self._partitions |= added
        return list(added)

    def on_subscribed(self, channel: bytes) -> None:
        """Claim from the channel's partition, because wakes may have been missed until now."""
        self._consumer.wake(self._partitions[channel])

    def on_pushed(self, channel: bytes, message: bytes) -> None:
        """Claim from the channel's partition, or stop the job of a request that was cancelled."""
        if message == WAKE:
            self._consumer.wake(self._partitions[channel])
        else:
            self._consumer.cancelled(message.decode(errors="replace"))


def open_push(connections: Connections, consumer: Consumer, worker: str) -> Push:
    """The worker's push connections, which follow the number of partitions; `run` has to run."""
    channels = WorkerChannels(consumer, connections.keys, worker)
    push = Push(connections, channels)
    partitions = connections.partitions

    def serve_all() -> None:
        # The consumer first, because a subscription leads to a claim.
        consumer.resize(partitions.served)
        for channel in channels.added(partitions.served):
            push.subscribe(channel)

    serve_all()
    partitions.listen(serve_all)
    return push
