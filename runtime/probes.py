"""A small HTTP endpoint for probes and metrics: `/healthz`, `/readyz` and `/metrics`.

A process that is not alive needs a restart. A process that is not ready may recover by itself. If
the event loop hangs, a probe gets no response, and counts that as a failure.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple, Protocol

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.conditions import Conditions
from tickertape.runtime.json_types import JsonObject

log = structlog.get_logger()

_CALLER_PATIENCE_S = 5.0
_MAX_HEAD_BYTES = 8192


class Answer(NamedTuple):
    """The HTTP status, the media type and the body."""

    status: int
    media_type: str
    body: bytes


class Probed(Protocol):
    """What a process says about itself. Changes nothing."""

    def needs_restart(self) -> str | None:
        """Why the process cannot recover by itself; None if it can, or if all is well."""

    async def present(self) -> Conditions:
        """The conditions of the process, as they were seen within the last second."""

    def remark(self) -> str | None:
        """What a process that is ready says about its upstream."""

    async def metrics_text(self) -> bytes:
        """The metrics in Prometheus' text format."""


async def answer(probed: Probed, path: str) -> Answer:
    """The answer for a path: JSON, or the metrics."""
    match path.partition("?")[0]:
        case "/healthz":
            fault = probed.needs_restart()
            return _status(503, fault) if fault else _status(200, "ok")
        case "/readyz":
            return _ready(await probed.present(), probed.remark())
        case "/metrics":
            return Answer(200, CONTENT_TYPE_LATEST, await probed.metrics_text())
        case _:
            return _status(404, "there is /healthz, /readyz and /metrics")


def _ready(conditions: Conditions, remark: str | None) -> Answer:
    named: list[JsonObject] = [
        {"code": each.code, "message": each.words} for each in conditions.all
    ]
    fields: JsonObject = {"conditions": named} if named else {}
    if (fatal := conditions.fatal) is not None:
        return _status(503, fatal.words, **fields)
    return _status(200, "ok", **({"upstream": remark} if remark else {}), **fields)


def _status(status: int, words: str, **fields: Any) -> Answer:
    return Answer(status, "application/json", json.dumps({"status": words, **fields}).encode())


def open_listeners(variable: str, host: str, port: int | None) -> list[socket.socket]:
    """The sockets on which a process answers probes; none without a port.

    `variable` is the setting of the port. Raises SettingsInvalid.
    """
    if port is None:
        return []
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        addresses = {address[:2]: family for family, _, _, _, address in found}
        listeners = [
            socket.create_server(address, family=family) for address, family in addresses.items()
        ]
    except OSError as error:
        raise SettingsInvalid(
            f"{variable} is {port}: cannot listen on {host}: {error.strerror}"
        ) from None
    log.info("answering probes", host=host, port=listeners[0].getsockname()[1])
    return listeners


@contextlib.asynccontextmanager
async def probe_endpoint(probed: Probed, listeners: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Answer probes on these sockets within the block, and close them."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(_CALLER_PATIENCE_S):
                    await _serve(probed, reader, writer)
        finally:
            writer.close()

    async with contextlib.AsyncExitStack() as servers:
        for each in listeners:
            server = await asyncio.start_server(serve, sock=each, limit=_MAX_HEAD_BYTES)
            await servers.enter_async_context(server)
        yield


async def _serve(
    probed: Probed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return
    method, _, rest = head.decode("latin-1").partition(" ")
    status, media_type, body = await answer(probed, rest.partition(" ")[0])
    lines = [
        f"HTTP/1.1 {status} {'OK' if status == 200 else 'Not OK'}",
        f"Content-Type: {media_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    content = b"" if method == "HEAD" else body
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + content)
    await writer.drain()
