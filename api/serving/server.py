"""Runs the app: takes the address, serves in one process or several, and ends without hanging.

An open stream would hold up uvicorn's shutdown for ever, and the app's own shutdown begins only
after the last connection has closed: so the signal itself ends the streams.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from tickertape.api.app import create_app
from tickertape.api.edge.auth import keys_from
from tickertape.api.edge.guards import check_bind
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol
from tickertape.api.serving.processes import run_processes
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.garbage import tune_garbage_collector
from tickertape.runtime.settings import Settings

log = structlog.get_logger("api")

# For calls that are being answered; streams end at once.
_GRACE_S = 5
_BACKLOG = 4096
# Longer than the idle connections of a proxy in front, which else writes into one that just closed.
_KEEP_ALIVE_S = 75
_UVICORN_LOGGER = "uvicorn.error"
_CUT_MESSAGE = "ASGI callable returned without completing response."

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
    """Serve until SIGTERM or Ctrl+C; returns the exit code: 0, or 1 when it had to give up.

    Raises SettingsInvalid before anything is served: an address that is taken or too open, a wrong
    setting; and RolesInvalid. `configure_logs`, a function that can be pickled, is called first in
    every process. Call it from the main thread, which is where signals arrive.

    `behind_loopback` says that only this machine's loopback leads to `host`, as to a container's
    published port: any is served without keys then, and the Host header is checked all the same.
    """
    is_open = open_to_all or behind_loopback
    check_bind(host, has_keys=keys_from(settings) is not None, open_to_all=is_open)
    with _listen(host, port) as listener:
        _raise_file_limit()
        log.info("listening", host=host, port=listener.getsockname()[1], processes=processes)
        if processes == 1:
            return _serve_one(settings, listener, open_to_all, configure_logs)
        # Built once here, so that what is wrong is told once, and not by each of them.
        create_app(settings, open_to_all=open_to_all)
        arguments = (settings, listener, open_to_all, configure_logs)
        return run_processes(processes, _serve_one, arguments)


def _serve_one(
    settings: Settings,
    listener: socket.socket,
    open_to_all: bool,  # noqa: FBT001  # positional, as multiprocessing passes it on
    configure_logs: ConfigureLogs | None,
) -> int:
    if configure_logs is not None:
        configure_logs()
    logging.getLogger(_UVICORN_LOGGER).addFilter(_is_not_a_cut)
    failures: list[str] = []

    def give_up(reason: str) -> None:
        log.error("giving up", reason=reason)
        failures.append(reason)
        server.should_exit = True

    app = create_app(settings, open_to_all=open_to_all, on_fatal=give_up)
    server = DrainingServer(app)
    server.listen_to_signals()
    gc.collect()
    tune_garbage_collector()
    server.run(sockets=[listener])
    return 1 if failures else 0


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=HandoverProtocol,
        ws="none",
        lifespan="on",
        # Lines of uvicorn's go where ours go. It must never log addresses with their queries.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_GRACE_S,
    )


class DrainingServer(uvicorn.Server):
    """A uvicorn that drains the app as soon as it is told to stop."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(_config(app))
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_interrupted = False

    def listen_to_signals(self) -> None:
        """From now on, and not only from when uvicorn does.

        A handler that raises SystemExit while an event loop is being made may be heard by nobody,
        and the process goes on: seen once in 1,500 starts that were ended at once.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then serve."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl+C stops without waiting for anyone.

        Not uvicorn's own way, which raises the signal again after an orderly end, so that every
        stop would look like a kill.
        """
        del frame
        if sig == signal.SIGINT:
            self.force_exit = self._was_interrupted
            self._was_interrupted = True
        self.should_exit = True
        if self._loop is not None and not self._loop.is_closed():
            # We may be in the middle of anything here: of a callback, of a write.
            self._loop.call_soon_threadsafe(self._app.state.services.streams.drain)


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104  # checked by check_bind
        family, _, _, _, address = found[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another --host or --port"
        ) from None


def _reason(error: OSError) -> str:
    # create_server repeats the address in its own wording; an unknown name has no system's word.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else error.strerror or type(error).__name__


def _raise_file_limit() -> None:
    """Every open stream is a file, and the usual soft limit of 1024 is no more than a default."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _is_not_a_cut(record: logging.LogRecord) -> bool:
    # A raw-text stream whose request failed is broken off on purpose; uvicorn calls it a defect.
    return record.getMessage() != _CUT_MESSAGE
