"""The times and sizes of a hub."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubLimits:
    """The times and sizes of a hub. Tests pass shorter and smaller ones."""

    sync_timeout_s: float = 5.0
    # A log without readers is kept this long, so that a reader that reconnects finds its tape.
    linger_s: float = 5.0
    tick_s: float = 1.0
    # Longer than a tail check that uses up all time-outs and retries of broker/connections.py.
    silence_limit_s: float = 60.0
    heal_pause_s: float = 0.2
    # A log that is replaced this often is broken; its readers are sent `gone`.
    max_rewinds: int = 20
    finished_cache_bytes: int = 64 * 1024 * 1024
    # Of all tapes of 1 MiB and more, kept or held by readers.
    large_logs_bytes: int = 512 * 1024 * 1024
