"""A simulation of the path of a token: upstream, worker, Redis, API process, reader.

Assumptions:

- Each process works in turns, with the costs of `costs.py`: a turn takes everything that has
  arrived, and its results leave at its end.
- Processes on one core wait for each other; a turn is never interrupted.
- Each generation is written at a steady rate, and begins at a random moment.
- Generations are divided evenly over workers, masters and API processes.
- Deltas of one answer in the same turn leave in one append.
- A hop takes the same time for each message, and nothing is lost.
- Nobody submits, reconnects or takes over. These cost CPU, which the capacity model adds.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.capacity import costs
from bench.capacity.turns import TurnCosts
from tickertape.cli.bench.percentiles import percentile

HOP_S = 50e-6
_WARM_UP = 0.2


@dataclass(frozen=True)
class Costs:
    """The costs of the three kinds of process."""

    worker: TurnCosts = costs.WORKER
    redis: TurnCosts = costs.REDIS
    api: TurnCosts = costs.API


COSTS = Costs()


@dataclass(frozen=True)
class System:
    """The processes, and the traffic. With `cores`, all processes of a kind share that core."""

    generations: int
    tokens_per_s: float
    workers: int = 1
    masters: int = 1
    apis: int = 1
    readers: int = 1
    cores: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Simulated:
    """What one run shows. CPU is per token; delays are from the upstream to the reader."""

    worker_us: float
    redis_us: float
    api_us: float
    p50_ms: float
    p99_ms: float
    busiest: float

    @property
    def us_per_token(self) -> float:
        return self.worker_us + self.redis_us + self.api_us


@dataclass
class _Core:
    free_s: float = 0.0


@dataclass(frozen=True)
class _Message:
    """Deltas of one answer that travel together, and when the upstream wrote each."""

    generation: int
    written_s: tuple[float, ...]


@dataclass
class _Process:
    """A process that works in turns."""

    costs: TurnCosts
    core: _Core
    send: Callable[[float, _Message], None]
    writes: int = 0
    inbox: list[_Message] = field(default_factory=list)
    is_due: bool = False
    busy_s: float = 0.0


class Simulation:
    """One run of one system."""

    def __init__(self, system: System, price: Costs = COSTS, *, seed: int = 1) -> None:
        self._system = system
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, _Process, _Message | None]] = []
        self._order = itertools.count()
        self._delays_s: list[float] = []
        shared = system.cores and [_Core() for _ in range(max(system.cores) + 1)]

        def core(kind: int) -> _Core:
            return shared[system.cores[kind]] if shared and system.cores else _Core()

        self._apis = [
            _Process(price.api, core(2), self._read, writes=system.readers)
            for _ in range(system.apis)
        ]
        self._masters = [_Process(price.redis, core(1), self._push) for _ in range(system.masters)]
        self._workers = [
            _Process(price.worker, core(0), self._append) for _ in range(system.workers)
        ]

    def run(self, length_s: float) -> Simulated:
        """Simulate `length_s` seconds, of which the first fifth only fills the queues."""
        tokens = 0
        for generation in range(self._system.generations):
            worker = self._workers[generation % len(self._workers)]
            at_s = self._random.random() / self._system.tokens_per_s
            while at_s < length_s:
                self._arrive(at_s, worker, _Message(generation, (at_s,)))
                at_s += 1 / self._system.tokens_per_s
                tokens += 1
        while self._events:
            self._step()
        return self._result(tokens, length_s)

    def _arrive(self, at_s: float, process: _Process, message: _Message) -> None:
        heapq.heappush(self._events, (at_s, next(self._order), process, message))

    def _step(self) -> None:
        now_s, _, process, message = heapq.heappop(self._events)
        if message is not None:
            process.inbox.append(message)
            if process.is_due:
                return
            process.is_due = True
        if process.core.free_s > now_s:
            heapq.heappush(self._events, (process.core.free_s, next(self._order), process, None))
            return
        self._turn(process, now_s)

    def _turn(self, process: _Process, now_s: float) -> None:
        taken, process.inbox = process.inbox, []
        merged: dict[int, list[float]] = {}
        for message in taken:
            merged.setdefault(message.generation, []).extend(message.written_s)
        price = process.costs
        took_us = price.turn_us + sum(
            price.of_message(len(written), process.writes) for written in merged.values()
        )
        end_s = now_s + took_us / 1e6
        process.busy_s += took_us / 1e6
        process.core.free_s = end_s
        for generation, written in merged.items():
            process.send(end_s, _Message(generation, tuple(written)))
        process.is_due = False
        # What arrives during the turn finds the core busy, and waits for its end.

    def _append(self, at_s: float, message: _Message) -> None:
        self._arrive(at_s + HOP_S, self._masters[message.generation % len(self._masters)], message)

    def _push(self, at_s: float, message: _Message) -> None:
        self._arrive(at_s + HOP_S, self._apis[message.generation % len(self._apis)], message)

    def _read(self, at_s: float, message: _Message) -> None:
        self._delays_s += [at_s - written_s for written_s in message.written_s]

    def _result(self, tokens: int, length_s: float) -> Simulated:
        delays = self._delays_s[int(len(self._delays_s) * _WARM_UP) :]
        everyone = [*self._workers, *self._masters, *self._apis]
        return Simulated(
            worker_us=_us(self._workers, tokens),
            redis_us=_us(self._masters, tokens),
            api_us=_us(self._apis, tokens),
            p50_ms=percentile(delays, 0.5) * 1e3,
            p99_ms=percentile(delays, 0.99) * 1e3,
            busiest=max(each.busy_s for each in everyone) / length_s,
        )


def _us(processes: list[_Process], tokens: int) -> float:
    return sum(each.busy_s for each in processes) / tokens * 1e6
