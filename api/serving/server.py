"""Runs the app: binds the address, and serves in one process or several."""

import contextlib
import gc
import logging
import os
import resource
import socket
from collections.abc import Callable

import structlog

from tickertape.api.app import create_app
from tickertape.api.edge.guards import check_bind
from tickertape.api.edge.listed_keys import needs_keys
from tickertape.api.hosting import Hosting
from tickertape.api.serving.draining_server import BACKLOG, DrainingServer
from tickertape.broker.errors import SettingsInvalid
from tickertape.runtime.addresses import is_public
from tickertape.runtime.garbage import tune_garbage_collector
from tickertape.runtime.processes import ProcessTiming, number_of_process, run_processes
from tickertape.runtime.service_manager import inherited_sockets
from tickertape.runtime.settings import Settings
from tickertape.runtime.siblings import Siblings
from tickertape.runtime.trace_settings import open_tracer

logger = structlog.get_logger("api")

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

    Sockets that a service manager opened (socket activation) take the place of `host` and `port`.

    `behind_loopback` states that `host` is reachable from this machine's loopback only, like the
    published port of a container. Then any `host` is accepted without API keys. The Host header is
    still checked.
    """
    is_open = open_to_all or behind_loopback
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(each) for each in inherited_sockets()]
        hosts = [each.getsockname()[0] for each in listeners] or [host]
        for each in hosts:
            check_bind(each, has_keys=needs_keys(settings), open_to_all=is_open)
            _warn_of_access(settings, each)
        if not listeners:
            listeners.append(stack.enter_context(_listen(host, port, "--host or --port")))
        _raise_file_limit()
        for each, listener in zip(hosts, listeners, strict=True):
            logger.info("listening", host=each, port=_port_of(listener), processes=processes)
        if settings.metrics_port is not None:
            listeners.append(stack.enter_context(_listen_for_operators(settings)))
        if processes == 1:
            return _serve_one(settings, listeners, open_to_all, configure_logs)
        # Build the app once here, so that a wrong setting is reported once, not by each process.
        create_app(settings, open_to_all=open_to_all)
        siblings = Siblings(processes)
        # The children share the memory of what was imported as long as nobody writes to it.
        gc.collect()
        gc.freeze()
        arguments = (settings, listeners, open_to_all, configure_logs, siblings)
        timing = _timing(settings)
        return run_processes(processes, _serve_one, arguments, timing, siblings)


def _timing(settings: Settings) -> ProcessTiming:
    return ProcessTiming(drain_s=settings.drain_delay_s + settings.drain_s)


def _listen_for_operators(settings: Settings) -> socket.socket:
    host, port = settings.metrics_host, settings.metrics_port or 0
    choice = "TICKERTAPE_METRICS_HOST or TICKERTAPE_METRICS_PORT"
    listener = _listen(host, port, choice)
    logger.info("listening for operators", host=host, port=_port_of(listener))
    return listener


def _port_of(listener: socket.socket) -> int:
    return int(listener.getsockname()[1])


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
    listeners: list[socket.socket],
    open_to_all: bool,  # noqa: FBT001  # multiprocessing passes it by position
    configure_logs: ConfigureLogs | None,
    siblings: Siblings | None = None,
) -> int:
    if configure_logs is not None:
        configure_logs()
    logging.getLogger(_UVICORN_LOGGER).addFilter(_is_not_a_cut_stream)
    failures: list[str] = []

    def give_up(reason: str) -> None:
        logger.error("giving up", reason=reason)
        failures.append(reason)
        server.should_exit = True

    if siblings is not None:
        siblings.join(number_of_process())
    # The socket for operators is the last one.
    operator_port = None if settings.metrics_port is None else _port_of(listeners[-1])
    tracer = open_tracer("tickertape-api")
    hosting = Hosting(operator_port, siblings, tracer)
    app = create_app(settings, open_to_all=open_to_all, on_fatal=give_up, hosting=hosting)
    server = DrainingServer(app, is_child=siblings is not None)
    server.listen_to_signals()
    gc.collect()
    tune_garbage_collector()
    server.run(sockets=listeners)
    if tracer is not None:
        tracer.close()
    return 1 if failures else 0


def _listen(host: str, port: int, choice: str) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104  # checked by check_bind
        family, _, _, _, address = addresses[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise SettingsInvalid(
            f"cannot listen on {host}:{port}: {_reason(error)}; choose another {choice}"
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
