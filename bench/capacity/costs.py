"""The measured costs that the capacity model counts with, each with its source.

The sources are tables of docs/performance.md; "assumed" marks what no shape has measured.
The costs of turns are fitted to several rows of these tables, listed in `ROWS`.
"""

from dataclasses import dataclass

from bench.capacity.turns import TurnCosts, us_per_message


@dataclass(frozen=True)
class Unit:
    """One cost. `what` says which, `source` where it comes from."""

    what: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Row:
    """A measured cost of a message, to which the costs of turns are fitted."""

    process: str
    what: str
    costs: TurnCosts
    per_s: float
    tokens: float
    writes: float
    measured_us: float

    @property
    def modelled_us(self) -> float:
        """What the model says for this row."""
        item_us = self.costs.of_message(self.tokens, self.writes)
        return us_per_message(self.costs.turn_us, item_us, self.per_s)

    @property
    def deviation(self) -> float:
        """The model's cost over the measured one."""
        return self.modelled_us / self.measured_us


# A message is a read of one answer's connection (worker), an append (Redis), a push (API).
WORKER = TurnCosts(turn_us=150, message_us=36, token_us=9.3)
REDIS = TurnCosts(turn_us=45, message_us=12, token_us=12, write_us=17)
API = TurnCosts(turn_us=45, message_us=3, token_us=5, write_us=10)

ROWS = (
    Row("worker", "Few and many, 100 answers", WORKER, 800, 1, 0, 223),
    Row("worker", "Few and many, 300 answers", WORKER, 2400, 1, 0, 169),
    Row("worker", "Few and many, 1,000 answers", WORKER, 8000, 1, 0, 121),
    Row("worker", "A whole worker, paced", WORKER, 3053, 1, 0, 135),
    Row("Redis", "What Redis pays, 5,000 logs", REDIS, 5000, 1, 0, 65.3),
    Row("Redis", "What Redis pays, 200 logs", REDIS, 20_000, 1, 0, 44.1),
    Row("Redis", "What Redis pays, four a call", REDIS, 5000, 4, 0, 4 * 24.7),
    Row("API", "As work grows, 1,000 logs", API, 2000, 1, 1, 86.1),
    Row("API", "As work grows, 5,000 logs", API, 10_000, 1, 1, 48.9),
    Row("API", "What Redis pays, 5,000 logs", API, 5000, 1, 1, 55.5),
    Row("API", "What Redis pays, 200 logs", API, 20_000, 1, 1, 38.8),
    Row("API", "What Redis pays, four a call", API, 5000, 4, 1, 4 * 19.8),
    Row("API", "One log, 1,000 readers", API, 50, 1, 1000, 11_500),
)

WORKER_REQUEST = Unit(
    "worker: claim, call and end of an answer", 2.5, "ms", "Where the microseconds go"
)
WORKER_COMPACTION = Unit(
    "worker: compaction of an answer of 500 tokens", 5.37, "ms", "Finished requests"
)
API_REQUEST = Unit("API: an HTTP request", 2.5, "ms", "Where the microseconds go")
REDIS_COMPACTION = Unit(
    "Redis: compaction of an answer of 500 tokens", 0.872, "ms", "Finished requests"
)
REDIS_REQUEST = Unit(
    "Redis: submit, claim and end of an answer, the opening of its log by a reader", 1.8, "ms",
    "As the system grows",
)  # fmt: skip
REDIS_OPEN = Unit("Redis: a log that a process begins to read", 0.1, "ms", "assumed")
REDIS_CALL = Unit("Redis: a call in the background", 60.0, "us", "a turn and a message of Redis")

WATCHER_KIB = Unit("API: memory of a waiting reader", 1.78, "KiB", "Waiting readers")
SOCKET_KIB = Unit("API: memory of a socket in the kernel", 4.0, "KiB", "assumed")
LIVE_LOG_KIB = Unit("API: memory of a log that is read", 50.0, "KiB", "assumed; 13 at its start")
GENERATION_KIB = Unit("worker: memory of an answer", 33.0, "KiB", "As the system grows")
PROCESS_MIB = Unit("memory of a process without work", 70.0, "MiB", "assumed")
TOKEN_BYTES = Unit(
    "Redis: memory of a token before compaction", 13_300 / 500, "B", "Finished requests"
)
KEPT_TOKEN_BYTES = Unit("Redis: memory of a token kept", 5_700 / 500, "B", "Finished requests")
AOF_BYTES = Unit(
    "Redis: append-only file and replication, of a token", 121_000 / 500, "B", "Finished requests"
)

FRAME_BYTES = Unit("native frame of a token of five letters", 64.0, "B", "docs/wires.md")
PACKET_BYTES = Unit("TLS record, TCP, IP and Ethernet of a write", 88.0, "B", "22 + 66")
PUSH_BYTES = Unit("push of a token to an API process", 250.0, "B", "assumed")
CHUNK_BYTES = Unit("chunk of the upstream", 340.0, "B", "Reading the upstream")

UNITS = (
    WORKER_REQUEST, WORKER_COMPACTION, API_REQUEST, REDIS_REQUEST, REDIS_OPEN, REDIS_COMPACTION,
    REDIS_CALL, WATCHER_KIB, SOCKET_KIB, LIVE_LOG_KIB, GENERATION_KIB, PROCESS_MIB, TOKEN_BYTES,
    KEPT_TOKEN_BYTES, AOF_BYTES, FRAME_BYTES, PACKET_BYTES, PUSH_BYTES, CHUNK_BYTES,
)  # fmt: skip
