"""Pure: what consumers have not got of the requests that have ended."""

from dataclasses import dataclass, field

from tickertape.broker.outbox import CONSUMERS, Consumer


@dataclass
class Outboxes:
    """`ended` has the requests and their states, the oldest end first. The rest has no order.

    `records` are kept for the history, which still has to erase `erased`. Of the webhooks, `again`
    are due once more and `given_up` are kept for people.
    """

    ended: dict[Consumer, list[tuple[str, str]]] = field(
        default_factory=lambda: {consumer: [] for consumer in CONSUMERS}
    )
    records: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)

    def end(self, id_: str, state: str) -> None:
        for line in self.ended.values():
            line.append((id_, state))
        self.records.add(id_)

    def erase(self, id_: str) -> None:
        self.records.discard(id_)
        self.given_up.discard(id_)
        self.erased.add(id_)

    def hand(self, consumer: Consumer, id_: str, *, fate: str) -> None:
        """A request that is still listed is handed on, once."""
        self.ended[consumer] = [each for each in self.ended[consumer] if each[0] != id_]
        if consumer == "history":
            self.records.discard(id_)
        if fate == "again":
            self.again.add(id_)
        elif fate == "given up":
            self.given_up.add(id_)
