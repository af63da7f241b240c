"""How the processes that serve write their logs: to stderr, for people on a terminal, else JSON."""

import logging
import sys
import traceback

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_FRAMES = 8


def configure() -> None:
    """Call once in each process, before the first line. Libraries are heard from warnings on."""
    for_people = sys.stderr.isatty()
    render: Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=not for_people),
        say_where,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def say_where(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Put an error's kind and place for the error, whose own text may quote a prompt or a key."""
    given = event.pop("exc_info", None)
    error = given[1] if isinstance(given, tuple) else given
    if error is True:
        error = sys.exception()
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["at"] = traceback_places(error)
    return event


def traceback_places(error: BaseException) -> list[str]:
    """Where an error was raised: file, line and function of its innermost frames."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
