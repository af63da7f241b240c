"""Pure: which partition a worker claims from next."""

from collections.abc import Container, Iterator


class Turns:
    """The partitions that may have work, in the order of their turns.

    A worker claims from all of them at its start. From then on a partition is in the queue from a
    wake, or a look that found work, until a claim finds no more there. A partition has its next
    turn after all others that are in the queue, so none starves while slots are scarce. Of one
    partition, there is one visit at a time.
    """

    def __init__(self, partitions: int) -> None:
        self._queue: dict[int, None] = dict.fromkeys(range(partitions))
        self._visited: set[int] = set()
        self._woken: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether the last claim of each partition found no more."""
        return not self._queue

    def wake(self, partition: int) -> None:
        """Queue the partition, also when a visit that is under way ends without work."""
        self._queue.setdefault(partition)
        self._woken.add(partition)

    def drop_from(self, partitions: int) -> None:
        """Forget the wakes of the partitions from this number on."""
        self._woken = {n for n in self._woken if n < partitions}
        self._queue = dict.fromkeys(n for n in self._queue if n < partitions)

    def choose(self, blocked: Container[int] = ()) -> int | None:
        """The partition whose turn it is, except `blocked` ones."""
        for partition in self._queue:
            if partition not in self._visited and partition not in blocked:
                return partition
        return None

    def woken(self) -> Iterator[int]:
        """The partitions with a wake that no visit has answered yet."""
        return iter(sorted(self._woken - self._visited))

    def begin(self, partition: int) -> None:
        """Begin a visit, which answers every wake until now."""
        self._visited.add(partition)
        self._woken.discard(partition)
        self._queue.pop(partition, None)
        self._queue[partition] = None

    def end(self, partition: int, *, has_more: bool) -> None:
        """End a visit. The partition stays in the queue if it has more, or was woken meanwhile."""
        self._visited.discard(partition)
        if not has_more and partition not in self._woken:
            self._queue.pop(partition, None)
