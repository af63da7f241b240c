"""Appends as a worker sends them, and what they are answered."""

from tests.support.wait import wait_until
from tickertape.broker.appender import Appended, Appender
from tickertape.broker.codec import encode_text
from tickertape.broker.leases import Lease


class Writer:
    """Appends to one attempt and keeps the answers."""

    def __init__(self, appender: Appender, lease: Lease) -> None:
        self.answers: list[Appended] = []
        self._appender = appender
        self._target = appender.target(lease.request_id, lease.attempt)

    def send(self, first_seq: int, *texts: str) -> None:
        values = [encode_text("delta", text) for text in texts]
        self._appender.append(self._target, first_seq, values, self.answers.append)

    async def append(self, first_seq: int, *texts: str) -> Appended:
        count = len(self.answers)
        self.send(first_seq, *texts)
        assert len(self.answers) == count, "an answer came before append returned"
        await wait_until(lambda: len(self.answers) > count, description="an answer")
        return self.answers[count]
