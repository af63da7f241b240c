"""The worker's probes and metrics over HTTP: `/healthz`, `/readyz` and `/metrics`.

A worker that is not alive needs a restart. A worker that is not ready may recover by itself. If the
event loop hangs, a probe gets no response, and counts that as a failure.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from tickertape.broker.appender import Appender
from tickertape.broker.errors import AccessDenied, SettingsInvalid, Unavailable, WritesRefused
from tickertape.broker.push import Push
from tickertape.broker.rights import Rights
from tickertape.broker.task_faults import TaskFaults
from tickertape.runtime.settings import Settings
from tickertape.worker.consumer import Consumer
from tickertape.worker.metrics import WorkerMetrics
from tickertape.worker.model_watch import ModelWatch

log = structlog.get_logger()

_REDIS_PATIENCE_S = 1.0
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
    rights: Rights
    models: ModelWatch
    metrics: WorkerMetrics
    faults: TaskFaults = field(default_factory=TaskFaults)

    def is_alive(self) -> str | None:
        """The loops that hang; None if no loop hangs."""
        silent = self.consumer.silent_loops
        return f"silent: {', '.join(silent)}" if silent else None

    async def is_ready(self) -> str | None:
        """Why this worker does not work at the moment; None if it does."""
        if self.consumer.is_stopping:
            return "draining"
        has_answered = True
        try:
            async with asyncio.timeout(_REDIS_PATIENCE_S):
                await self.rights.check()
        except (AccessDenied, WritesRefused) as refusal:
            # Checked first, because a refusal causes the other faults.
            return str(refusal)
        except (Unavailable, TimeoutError):
            has_answered = False
        if not self.consumer.is_claiming:
            return "starting"
        if fault := self.is_alive():
            return fault
        if not self.appender.is_ready or not self.push.is_up:
            return "not connected to Redis"
        if (refused := self.faults.refused) is not None:
            return refused
        if not has_answered:
            return "Redis does not answer"
        return f"cannot list models: {self.models.fault}" if self.models.fault else None

    async def answer(self, path: str) -> Answer:
        """The answer for a path: JSON, or the metrics."""
        match path.partition("?")[0]:
            case "/healthz":
                fault = self.is_alive()
            case "/readyz":
                fault = await self.is_ready()
            case "/metrics":
                return Answer(200, CONTENT_TYPE_LATEST, self.metrics.text())
            case _:
                return _status(404, "there is /healthz, /readyz and /metrics")
        if fault is not None:
            return _status(503, fault)
        reason = self.models.no_list_reason
        return _status(200, "ok", **({"upstream": reason} if reason else {}))


def _status(status: int, words: str, **fields: str) -> Answer:
    return Answer(status, "application/json", json.dumps({"status": words, **fields}).encode())


@contextlib.asynccontextmanager
async def health_endpoint(health: Health, settings: Settings) -> AsyncIterator[None]:
    """Answer probes within the block, if a port is set. Raises SettingsInvalid."""
    host, port = settings.worker_health_host, settings.worker_health_port
    if port is None:
        yield
        return

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_CALLER_PATIENCE_S):
                    await _answer(health, reader, writer)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(serve, host, port, limit=_MAX_HEAD_BYTES)
    except OSError as error:
        raise SettingsInvalid(
            f"TICKERTAPE_WORKER_HEALTH_PORT is {port}: cannot listen on {host}: {error.strerror}"
        ) from None
    async with server:
        log.info("answering probes", host=host, port=server.sockets[0].getsockname()[1])
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
