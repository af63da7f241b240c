"""What a finished request costs Redis: memory and append-only file, before and after compaction."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.box import Box
from bench.report import Bound, Report, Spread, Table
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tests.support.servers import valkey_server
from tests.support.wait import wait_until
from tickertape.broker.compaction import Compaction
from tickertape.runtime.garbage import tune_garbage_collector

_REQUESTS, _TOKENS = 200, 500
_LONG_TOKENS, _TOKENS_PER_CALL = 100_000, 500
_LEASE_S = 1.0
_LETTERS = "etaoinshrdlucmf"


@dataclass(frozen=True)
class Finished:
    """Figures of one round, for each request; those of `long` are of one log of 100,000 tokens."""

    text_bytes: float
    memory_before: float
    memory_after: float
    aof_written: float
    aof_compaction: float
    aof_rewritten_before: float
    aof_rewritten_after: float
    worker_ms: float
    redis_ms: float
    long_before: float
    long_after: float
    long_turn_ms: float
    long_script_ms: float


async def measure(box: Box, *, rounds: int) -> Report:
    """Measure requests of 500 tokens, one append for each token, and one log of 100,000."""
    tune_garbage_collector()
    return _report([await _round(box) for _ in range(rounds)])


async def _round(box: Box) -> Finished:
    requests, long_tokens = box.some(_REQUESTS), box.some(_LONG_TOKENS)
    settings = GivenSettings(openai_model="m", lease_s=_LEASE_S)
    with valkey_server(append_only=True) as server:
        async with open_rig(server.url, settings) as rig:
            redis, compaction = _Server(rig), Compaction(rig.connections)
            tokens = list(_tokens(_TOKENS))
            await _write(rig, tokens, 1)
            await redis.settle()
            empty, written = await redis.memory(), await redis.aof()
            ids = [await _write(rig, tokens, 1) for _ in range(requests)]
            await redis.settle()
            before, aof_before = await redis.memory(), await redis.aof()
            rewritten_before = await redis.rewritten_aof()
            aof, cpu_s, redis_s = await redis.aof(), time.process_time(), await redis.cpu_s()
            for request_id in ids:
                assert await compaction.compact(0, request_id) == "OK"
            cpu_s, redis_s = time.process_time() - cpu_s, await redis.cpu_s() - redis_s
            aof_after = await redis.aof()
            await redis.settle()
            after, rewritten_after = await redis.memory(), await redis.rewritten_aof()
            long = await _long_log(rig, redis, compaction, list(_tokens(long_tokens)))
    long_before, long_after, turn_ms, script_ms = long
    return Finished(
        text_bytes=len("".join(tokens)),
        memory_before=(before - empty) / requests,
        memory_after=(after - empty) / requests,
        aof_written=(aof_before - written) / requests,
        aof_compaction=(aof_after - aof) / requests,
        aof_rewritten_before=rewritten_before / requests,
        aof_rewritten_after=rewritten_after / requests,
        worker_ms=1000 * cpu_s / requests,
        redis_ms=1000 * redis_s / requests,
        long_before=long_before,
        long_after=long_after,
        long_turn_ms=turn_ms,
        long_script_ms=script_ms,
    )


async def _long_log(
    rig: Rig, redis: "_Server", compaction: Compaction, tokens: list[str]
) -> tuple[float, float, float, float]:
    request_id = await _write(rig, tokens, _TOKENS_PER_CALL)
    before = await redis.memory_of(request_id)
    turns = _Turns()
    watching = asyncio.create_task(turns.watch(), name="turns")
    await redis.forget_slow_commands()
    assert await compaction.compact(0, request_id) == "OK"
    watching.cancel()
    after = await redis.memory_of(request_id)
    return before, after, 1000 * turns.longest_s, await redis.slowest_ms()


async def _write(rig: Rig, tokens: Sequence[str], per_call: int) -> str:
    request_id = await rig.begin()
    for at in range(0, len(tokens), per_call):
        await rig.type(*tokens[at : at + per_call])
    await rig.finish()
    return request_id


def _tokens(count: int) -> Iterator[str]:
    chosen = random.Random(1)
    for _ in range(count):
        yield " " + "".join(chosen.choices(_LETTERS, k=chosen.choice((2, 3, 3, 4, 4, 5))))


class _Turns:
    """The longest turn of the event loop, in CPU time, which other processes do not change."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def watch(self) -> None:
        while True:
            began_s = time.process_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.process_time() - began_s)


class _Server:
    """The figures that Redis has of itself."""

    def __init__(self, rig: Rig) -> None:
        self._ask = rig.connections.ask

    async def settle(self) -> None:
        """Wait until the answers of claims, which are kept for two leases, have expired."""
        await asyncio.sleep(2.5 * _LEASE_S)

    async def memory(self) -> int:
        return int((await self._ask("INFO", "memory"))["used_memory"])

    async def memory_of(self, request_id: str) -> int:
        return int(await self._ask("MEMORY", "USAGE", KEYS.log(request_id), "SAMPLES", 0))

    async def aof(self) -> int:
        return int((await self._ask("INFO", "persistence"))["aof_current_size"])

    async def cpu_s(self) -> float:
        used = await self._ask("INFO", "cpu")
        return float(used["used_cpu_user_main_thread"]) + float(used["used_cpu_sys_main_thread"])

    async def rewritten_aof(self) -> int:
        """The size of the append-only file after a rewrite."""
        await self._ask("BGREWRITEAOF")

        async def is_written() -> bool:
            found = await self._ask("INFO", "persistence")
            return not (found["aof_rewrite_in_progress"] or found["aof_rewrite_scheduled"])

        await wait_until(is_written, timeout_s=60, description="the file is rewritten")
        return await self.aof()

    async def forget_slow_commands(self) -> None:
        await self._ask("CONFIG", "SET", "slowlog-log-slower-than", 100)
        await self._ask("SLOWLOG", "RESET")

    async def slowest_ms(self) -> float:
        return float(max(entry[2] for entry in await self._ask("SLOWLOG", "GET", -1))) / 1000


def _report(rounds: Sequence[Finished]) -> Report:
    def spread(name: str, scale: float = 1.0) -> Spread:
        return Spread(tuple(getattr(each, name) / scale for each in rounds))

    rows = [
        ["memory, kB", str(spread("memory_before", 1e3)), str(spread("memory_after", 1e3))],
        [
            "append-only file as written, kB",
            str(spread("aof_written", 1e3)),
            f"{spread('aof_compaction', 1e3)} more",
        ],
        [
            "append-only file after its rewrite, kB",
            str(spread("aof_rewritten_before", 1e3)),
            str(spread("aof_rewritten_after", 1e3)),
        ],
        [
            "one log of 100,000 tokens, memory, kB",
            str(spread("long_before", 1e3)),
            str(spread("long_after", 1e3)),
        ],
    ]
    costs = [
        ["CPU of the worker, ms", str(spread("worker_ms"))],
        ["CPU of Redis, ms", str(spread("redis_ms"))],
        [
            "log of 100,000 tokens: longest turn of the worker's event loop, ms of CPU",
            str(spread("long_turn_ms")),
        ],
        [
            "log of 100,000 tokens: longest command of Redis, ms",
            str(spread("long_script_ms")),
        ],
    ]
    return Report(
        tables=[
            Table(("for each finished request", "before compaction", "after"), rows),
            Table(("compaction of a request of 500 tokens costs", ""), costs),
        ],
        bounds=[
            Bound("memory after compaction", spread("memory_after", 1e3), 8, unit="kB"),
            Bound("longest turn of the event loop", spread("long_turn_ms"), 50, 20, unit="ms"),
        ],
        notes=[f"The text of an answer has {rounds[0].text_bytes / 1e3:.1f} kB."],
    )
