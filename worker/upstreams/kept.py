"""The answer of one request that an upstream keeps, and what readers have of it."""

from collections.abc import Callable

from tickertape.broker.leases import Attached
from tickertape.worker.upstream.answer_stream import Take
from tickertape.worker.upstream.errors import Stalled, Truncated, Unreachable, UpstreamError
from tickertape.worker.upstream.pieces import Piece
from tickertape.worker.upstream.seen import AnswerDiffers, Seen
from tickertape.worker.upstream.tally import Tally

# A connection that breaks again and again is a failure.
_MOST_RETURNS = 3


def _record_nothing(at: Attached | None) -> None:
    del at


class KeptAnswer:
    """Where an upstream keeps the answer; `at` is None if none does.

    `at` is at first the answer of an earlier attempt. `record` gets each later one, so that an
    attempt after this one can go on with it, and None when no attempt should.
    """

    def __init__(
        self,
        at: Attached | None = None,
        record: Callable[[Attached | None], None] = _record_nothing,
    ) -> None:
        self.at = at
        self._is_recorded = at is not None
        self._record = record
        self._seen: Seen | None = None
        self._returns = 0

    @property
    def has_readers(self) -> bool:
        """Whether readers have output of an answer that is read once more."""
        return self._seen is not None and self._seen.has_any

    @property
    def is_caught_up(self) -> bool:
        """Whether all that readers have has come again."""
        return self._seen is None or self._seen.is_over

    def keep(self, upstream: str, kept_id: str) -> None:
        """Take note that an upstream keeps the answer under this id."""
        self.at, self._is_recorded = Attached(upstream, kept_id), True
        self._record(self.at)

    def leave(self) -> None:
        """Take note that another upstream is asked, so nobody reads the earlier answer again."""
        self.at = None
        if self._is_recorded:
            self._is_recorded = False
            self._record(None)

    def read_again(self, tally: Tally) -> None:
        """Expect the answer from its first token. What `tally` has, readers have."""
        if self._seen is None or self._seen.is_over:
            self._seen = Seen(tally)
        else:
            self._seen.rewind()
        tally.replay()

    def may_return(self, error: UpstreamError) -> bool:
        """Whether the answer most likely goes on at the upstream, and is to be read once more."""
        is_lost = isinstance(error, Truncated | Unreachable | Stalled)
        if self.at is None or not is_lost or isinstance(error, AnswerDiffers):
            return False
        self._returns += 1
        return self._returns <= _MOST_RETURNS

    def for_readers(self, take: Take) -> Take:
        """`take`, which gets only what readers do not have."""
        seen = self._seen
        if seen is None:
            return take

        def take_new(pieces: list[Piece]) -> bool | None:
            new = seen.new_in(pieces)
            return take(new) if new else True

        return take_new
