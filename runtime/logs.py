"""Configures the program's logger: readable lines if stderr is a terminal, else JSON lines."""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_FRAMES = 8
_ENCODER = json.JSONEncoder(default=repr)
_LEVELS = {"warn": "warning", "exception": "error"}


class _LastingStderr:
    """stderr. A terminal that has closed must not end what is being logged about."""

    # Each request has four lines, and `contextlib.suppress` takes longer than the rest of these.
    def write(self, text: str) -> None:
        try:  # noqa: SIM105  # `suppress` is slower
            sys.stderr.write(text)
        except OSError:
            pass

    def flush(self) -> None:
        try:  # noqa: SIM105  # `suppress` is slower
            sys.stderr.flush()
        except OSError:
            pass


def configure(level: str = "info") -> None:
    """Call once in each process, before it logs, with the lowest level that is logged.

    Libraries log warnings and errors only.
    """
    lowest = logging.getLevelNamesMapping()[level.upper()]
    is_terminal = sys.stderr.isatty()
    render: Processor = structlog.dev.ConsoleRenderer() if is_terminal else _render_json
    stamps: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=False),
    ]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        *(stamps if is_terminal else [_stamp]),
        hide_error_text,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _LastingStderr())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    # Of the handler too, because variables such as OPENAI_LOG let a library log whole prompts.
    handler.setLevel(logging.WARNING)
    handler.addFilter(_hide_values)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(lowest, logging.WARNING), force=True)
    _log_crashes()


# structlog's processors for the same take twelve calls of Python for each line.
def _stamp(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add the level and the time (UTC)."""
    event["level"] = _LEVELS.get(method, method)
    second, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    fraction = f".{nanoseconds // 1000:06d}Z" if nanoseconds >= 1000 else "Z"
    event["timestamp"] = _text_of(second) + fraction
    return event


@lru_cache(maxsize=1)
def _text_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _json_writer() -> Callable[[EventDict], str]:
    """Writes an event as JSON, in the form of `_ENCODER`.

    `encode` makes the encoder in C for each event, which takes longer than to write one.
    """
    make = json.encoder.c_make_encoder  # type: ignore[attr-defined]  # not in its stub
    if make is None:  # without the library's module in C
        return _ENCODER.encode
    escape = json.encoder.encode_basestring_ascii
    write = make(None, repr, escape, None, ": ", ", ", False, False, True)  # noqa: FBT003  # as json calls it
    return lambda event: "".join(write(event, 0))


_write_json = _json_writer()


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return _write_json(event)


def join_host() -> None:
    """Log into the `logging` of the program that Tickertape is a part of, as `tickertape.api`.

    A program that has configured structlog by itself gets the events as structlog's.
    """
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            hide_error_text,
            structlog.processors.KeyValueRenderer(key_order=["event"], drop_missing=True),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=lambda *names: logging.getLogger(".".join(("tickertape", *names))),
    )


def _log_crashes() -> None:
    """Let no crash print its error, whose text may quote a prompt or a key."""
    log = structlog.get_logger("crash")

    def crashed(error: BaseException | None, event: str) -> None:
        if not isinstance(error, SystemExit):  # an end that was asked for, of a thread
            log.error(event, exc_info=error)

    sys.excepthook = lambda _, error, __: crashed(error, "the program crashed")
    sys.unraisablehook = lambda given: crashed(given.exc_value, "an error was ignored")
    threading.excepthook = lambda given: crashed(given.exc_value, "a thread crashed")


def _hide_values(record: logging.LogRecord) -> bool:
    """Cut what asyncio says of tasks and callbacks: they show their errors and arguments."""
    if record.name == "asyncio":
        if isinstance(record.args, tuple) and record.args:
            record.args = tuple(map(_type_or_number, record.args))
        else:
            record.msg = str(record.msg).partition("\n")[0].partition("(")[0]
    return True


def _type_or_number(value: object) -> object:
    return value if isinstance(value, int | float) else type(value).__name__


def hide_error_text(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by the error's type and traceback. Its text may quote a prompt or key."""
    exc_info = event.pop("exc_info", None)
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["at"] = traceback_places(error)
    return event


def traceback_places(error: BaseException) -> list[str]:
    """The file, line and function of the innermost eight frames of an error's traceback."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
