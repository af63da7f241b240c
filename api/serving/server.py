"""Runs the app: binds the address, serves in one process or several, and stops without hanging.

An open stream would delay uvicorn's shutdown indefinitely, because the app's shutdown starts only
after the last connection has closed. Therefore the stop signal itself ends the streams.
"""

import asyncio
import functools
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import cast

import structlog
import uvicorn
from fastapi import FastAPI

from tickertape.api.app import create_app
from tickertape.api.edge.front import headers_of_answers
from tickertape.api.edge.guards import check_bind
from tickertape.api.edge.listed_keys import needs_keys
from tickertape.api.serving.bounded_protocol import BoundedProtocol
from tickertape.api.serving.bounds import bounds_from
from tickertape.api.serving.doorway import REASONS, Doorway
from tickertape.api.serving.processes import run_processes
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_public
from tickertape.runtime.garbage import tune_garbage_collector
from tickertape.runtime.settings import Settings

logger = structlog.get_logger("api")

# The time that calls in progress have to finish. Streams end at once.
_GRACE_S = 5
_BACKLOG = 4096
# Longer than the idle timeout of reverse proxies, which may otherwise reuse a closed connection.
_KEEP_ALIVE_S = 75
_UVICORN_LOGGER = "uvicorn.error"
_INCOMPLETE_MESSAGE = "ASGI callable returned without completing response."

ConfigureLogs = Callable[[], None]


def serve(
    settings: Settings,
    host: str,
    port: int,
    *,
    processes: int = 1,
    open_to_all: bool = False,
    behind_loopback: bool = False,
    configure_logs: ConfigureLogs | None = None,
) -> int:
    """Serve until SIGTERM or Ctrl+C; returns the exit code: 0, or 1 after a fatal fault.

    Call it from the main thread, which receives the signals. Before it serves, it raises
    SettingsInvalid for a wrong setting and for an address that is in use or too open, and
    RolesInvalid for a wrong role. Every process calls `configure_logs` first, so it must be
    picklable.

    `behind_loopback` states that `host` is reachable from this machine's loopback only, like the
    published port of a container. Then any `host` is accepted without API keys. The Host header is
    still checked.
    """
    is_open = open_to_all or behind_loopback
    check_bind(host, has_keys=needs_keys(settings), open_to_all=is_open)
    _warn_of_access(settings, host)
    with _listen(host, port) as listener:
        _raise_file_limit()
        logger.info("listening", host=host, port=listener.getsockname()[1], processes=processes)
        if processes == 1:
            return _serve_one(settings, listener, open_to_all, configure_logs)
        # Build the app once here, so that a wrong setting is reported once, not by each process.
        create_app(settings, open_to_all=open_to_all)
        arguments = (settings, listener, open_to_all, configure_logs)
        return run_processes(processes, _serve_one, arguments)


def _warn_of_access(settings: Settings, host: str) -> None:
    if not settings.is_closed:
        logger.warning("open: no keys", host=host, fix="set TICKERTAPE_API_KEYS")
    elif is_public(host) and not settings.trusted_proxies:
        logger.warning(
            "keys in clear",
            host=host,
            fix="put a proxy with TLS in front, and name it in TICKERTAPE_TRUSTED_PROXIES",
        )


def _serve_one(
    settings: Settings,
    listener: socket.socket,
    open_to_all: bool,  # noqa: FBT001  # multiprocessing passes it by position
    configure_logs: ConfigureLogs | None,
) -> int:
    if configure_logs is not None:
        configure_logs()
    logging.getLogger(_UVICORN_LOGGER).addFilter(_is_not_a_cut_stream)
    failures: list[str] = []

    def give_up(reason: str) -> None:
        logger.error("giving up", reason=reason)
        failures.append(reason)
        server.should_exit = True

    app = create_app(settings, open_to_all=open_to_all, on_fatal=give_up)
    server = DrainingServer(app)
    server.listen_to_signals()
    gc.collect()
    tune_garbage_collector()
    server.run(sockets=[listener])
    return 1 if failures else 0


def _config(app: FastAPI, doorway: Doorway) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", functools.partial(BoundedProtocol, doorway=doorway)),
        ws="none",
        lifespan="on",
        # uvicorn's lines go to the program's log. Queries in URLs must never be logged.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


class DrainingServer(uvicorn.Server):
    """A uvicorn server that drains the app as soon as it receives a stop signal."""

    def __init__(self, app: FastAPI) -> None:
        self.doorway = Doorway(
            bounds_from(app.state.settings), headers_of_answers(app.state.settings)
        )
        super().__init__(_config(app, self.doorway))
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_interrupted = False

    def listen_to_signals(self) -> None:
        """Handle stop signals from now on, before uvicorn installs its handlers.

        Until then, Python's default handler raises SystemExit. If that happens while the event loop
        is created, the exception can be lost, and the process continues, as in 1 of 1,500 starts
        that were stopped at once.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and accept connections; `handle_exit` can drain the app from then on."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.started:
            self._app.state.services.metrics.watch_edge(REASONS, self.doorway.refusals)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop the server; a second Ctrl+C stops it without waiting for calls in progress.

        This replaces uvicorn's handler, which raises the signal again after an orderly stop, so
        that every stop would look like a kill.
        """
        del frame
        if sig == signal.SIGINT:
            self.force_exit = self._was_interrupted
            self._was_interrupted = True
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            # The signal may have interrupted any callback of the loop, so only schedule the drain.
            self._loop.call_soon_threadsafe(self._app.state.services.streams.drain)


def _listen(host: str, port: int) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104  # checked by check_bind
        family, _, _, _, address = addresses[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another --host or --port"
        ) from None


def _reason(error: OSError) -> str:
    # The error of create_server repeats the address; an unknown host name has no system error.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


def _raise_file_limit() -> None:
    """Raise the soft limit of open files, usually 1024, because each open stream is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _is_not_a_cut_stream(record: logging.LogRecord) -> bool:
    # uvicorn logs an error if a raw-text stream is cut, which the API does on purpose.
    return record.getMessage() != _INCOMPLETE_MESSAGE
