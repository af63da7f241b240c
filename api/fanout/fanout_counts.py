"""What the fan-out of this process counts, as plain numbers."""

import time
from collections import Counter
from typing import Literal

from tickertape.runtime.histogram import DELAYS_S, Histogram

# At most so often, a new entry is timed on its way to its readers.
SAMPLE_EVERY_S = 0.01

HealCause = Literal["opened", "reconnected", "gap", "malformed", "tail", "caught_up"]
"""Why a log is read: for its first reader, after the push connection came back, after a push that
was not the next one or not readable, because its tail showed more, for a reader that knows more."""
DropReason = Literal["stalled", "unread", "revoked", "replaced"]
"""Why a stream was broken off: its client took nothing, or held too much memory; its key or ticket
ended; its log was replaced on a wire that cannot express that."""


class FanoutCounts:
    """Counted where something rare happens. Of the entries, samples are timed."""

    def __init__(self) -> None:
        self.heals: Counter[str] = Counter()
        self.rewinds = 0
        self.dropped: Counter[str] = Counter()
        self.delays = Histogram(
            "tickertape_token_to_reader_seconds",
            "From the arrival of an entry to its write to a group of readers, of samples",
            DELAYS_S,
        )
        self.sample_from_s = 0.0
        """The monotonic time from which on another entry may be timed."""

    def sample(self) -> None:
        """Time no other entry for a while."""
        self.sample_from_s = time.monotonic() + SAMPLE_EVERY_S
