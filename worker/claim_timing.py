"""How long a claim loop waits, and for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClaimTiming:
    """The pauses and limits of a claim loop. Tests pass shorter ones."""

    # Partitions are also looked at without a wake, because wakes can be lost and leases expire.
    poll_s: float = 1.0
    unavailable_pause_s: float = 0.5
    # Longer than a claim that uses up all its time-outs and repeats; see broker/connections.py.
    silence_limit_s: float = 60.0
