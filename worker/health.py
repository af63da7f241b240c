"""The worker's probes and metrics over HTTP: `/healthz`, `/readyz` and `/metrics`.

A worker that is not alive needs a restart. A worker that is not ready may recover by itself. If the
event loop hangs, a probe gets no response, and counts that as a failure.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from prometheus_client import CONTENT_TYPE_LATEST

from tickertape.broker.appender import Appender
from tickertape.broker.push import Push
from tickertape.broker.task_faults import TaskFaults
from tickertape.broker.work_check import LOOK_AGE_S, WorkCheck, upstream_condition
from tickertape.runtime.conditions import Code, Condition, Conditions, Looks
from tickertape.runtime.json_types import JsonObject
from tickertape.runtime.secret_watch import SecretWatch
from tickertape.runtime.shared_metrics import SharedMetrics
from tickertape.worker.consumer import Consumer
from tickertape.worker.group import Group
from tickertape.worker.model_watch import ModelWatch

_CALLER_PATIENCE_S = 5.0
_MAX_HEAD_BYTES = 8192


class Answer(NamedTuple):
    """The HTTP status, the media type and the body."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True)
class Health:
    """The state of a worker, observed from its parts. Changes nothing."""

    consumer: Consumer
    appender: Appender
    push: Push
    check: WorkCheck
    models: ModelWatch
    metrics: SharedMetrics
    conditions: Conditions
    upstream_problem: Callable[[], str | None]
    faults: TaskFaults
    secrets: SecretWatch
    look_age_s: float = LOOK_AGE_S
    group: Group | None = None

    @cached_property
    def looks(self) -> Looks:
        """The looks at the conditions of this worker."""
        return Looks(self.look, self.conditions, age_s=self.look_age_s)

    def is_alive(self) -> str | None:
        """The loops that hang; None if no loop hangs."""
        silent = self.consumer.silent_loops
        return f"silent: {', '.join(silent)}" if silent else None

    async def look(self) -> list[Condition]:
        """What keeps this worker from its work at the moment, or harms it."""
        of_redis = await self.check.conditions()
        return [
            *of_redis,
            *self._of_process({each.code for each in of_redis}),
            *self._of_upstream(),
            *self.secrets.conditions(),
        ]

    def _of_process(self, of_redis: set[Code]) -> Iterator[Condition]:
        if self.consumer.is_stopping:
            yield Condition(Code.DRAINING, "draining")
        if not self.consumer.is_claiming:
            yield Condition(Code.STARTING, "starting")
        if fault := self.is_alive():
            yield Condition(Code.LOOPS_HANG, fault)
        is_connected = self.appender.is_ready and self.push.is_up
        if not is_connected and Code.CLUSTER_NODE not in of_redis:
            yield Condition(Code.PUSHES_DOWN, "not connected to Redis")
        if (refused := self.faults.refused) is not None:
            yield Condition(Code.TASK_REFUSED, refused)

    def _of_upstream(self) -> Iterator[Condition]:
        if self.models.fault is not None:
            code = upstream_condition(self.models.public_fault or "").code
            yield Condition(code, f"cannot list models: {self.models.fault}")
        elif (problem := self.upstream_problem()) is not None:
            yield Condition(Code.UPSTREAM_REFUSED, problem)

    async def answer(self, path: str) -> Answer:
        """The answer for a path: JSON, or the metrics."""
        match path.partition("?")[0]:
            case "/healthz":
                fault = self._needs_restart()
                return _status(503, fault) if fault else _status(200, "ok")
            case "/readyz":
                return await self._ready()
            case "/metrics":
                return Answer(200, CONTENT_TYPE_LATEST, await self.metrics.text())
            case _:
                return _status(404, "there is /healthz, /readyz and /metrics")

    def _needs_restart(self) -> str | None:
        # The process that started a group replaces those of its processes that hang.
        return None if self.group and self.group.is_another_at_work() else self.is_alive()

    async def _ready(self) -> Answer:
        conditions = await self.looks.newest()
        if self.group is not None:
            conditions = conditions.with_those_of_others(self.group.conditions())
        named: list[JsonObject] = [
            {"code": each.code, "message": each.words} for each in conditions.all
        ]
        fields: JsonObject = {"conditions": named} if named else {}
        if (fatal := conditions.fatal) is not None:
            return _status(503, fatal.words, **fields)
        reason = self.models.no_list_reason
        return _status(200, "ok", **({"upstream": reason} if reason else {}), **fields)


def _status(status: int, words: str, **fields: Any) -> Answer:
    return Answer(status, "application/json", json.dumps({"status": words, **fields}).encode())


@contextlib.asynccontextmanager
async def health_endpoint(
    health: Health, listeners: Sequence[socket.socket]
) -> AsyncIterator[None]:
    """Answer probes on these sockets within the block, and close them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_CALLER_PATIENCE_S):
                    await _answer(health, reader, writer)
        finally:
            writer.close()

    async with contextlib.AsyncExitStack() as servers:
        for each in listeners:
            server = await asyncio.start_server(serve, sock=each, limit=_MAX_HEAD_BYTES)
            await servers.enter_async_context(server)
        yield


async def _answer(
    health: Health, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return
    method, _, rest = head.decode("latin-1").partition(" ")
    status, media_type, body = await health.answer(rest.partition(" ")[0])
    lines = [
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not OK'}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    content = b"" if method == "HEAD" else body
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)
    await writer.drain()
