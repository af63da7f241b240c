"""Pure: whether a body that does not come with its head arrives in time, and is mostly a body."""

from tickertape.api.edge import bound_problems as problems
from tickertape.api.edge.problems import Problem
from tickertape.api.serving.bounds import Bounds


class BodyPace:
    """The bytes of one body since its first ones, and the times by which more are due."""

    def __init__(self, bounds: Bounds, now_s: float) -> None:
        self._bounds = bounds
        self._due_s = now_s + bounds.body_s
        self._silent_bytes = 0
        self._body_bytes = 0
        self.wire_bytes = 0
        self._begin_period(now_s)

    def _begin_period(self, now_s: float) -> None:
        self._period_ends_s = now_s + self._bounds.body_stall_s
        self._period_from = self.wire_bytes

    def add(self, wire_bytes: int, body_bytes: int, *, is_heard: bool) -> None:
        """Count bytes that arrived; `is_heard` if the parser found a chunk or body in them."""
        self.wire_bytes += wire_bytes
        self._body_bytes += body_bytes
        self._silent_bytes = 0 if is_heard else self._silent_bytes + wire_bytes

    def fault(self) -> Problem | None:
        """The refusal of trailers, of extensions of chunks and of tiny chunks that are too much."""
        bounds = self._bounds
        if self._silent_bytes > bounds.header_bytes:
            return problems.trailers_too_large(bounds.header_bytes, bounds.headers)
        if self.wire_bytes - self._body_bytes > bounds.framing_bytes + self._body_bytes:
            return problems.chunks_too_small()
        return None

    def wait(self, now_s: float) -> None:
        """Do not count the time until now, because it was not the client that made it pass."""
        self._due_s += max(0.0, now_s + self._bounds.body_stall_s - self._period_ends_s)
        self._begin_period(now_s)

    def is_late(self, now_s: float) -> bool:
        """Whether the body should have ended, or too little of it came in the last period."""
        if now_s >= self._due_s:
            return True
        if now_s < self._period_ends_s:
            return False
        if self.wire_bytes - self._period_from < self._bounds.stall_bytes:
            return True
        self._begin_period(now_s)
        return False
