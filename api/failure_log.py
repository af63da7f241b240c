"""How a failure of ours is logged: where it was, and of its words those of Redis alone."""

import traceback

import structlog

from tickertape.broker.connections import reply_text

log = structlog.get_logger("api")

_TRACEBACK_FRAMES = 8


def note_failure(error: Exception, event: str, **about: str) -> None:
    """Log where we failed. The error's own text may quote a prompt, an answer or a key.

    What Redis replied holds none of them, and without it nobody could tell what to mend.
    """
    if (reply := reply_text(error)) is not None:
        about["reply"] = reply
    frames = traceback.extract_tb(error.__traceback__)[-_TRACEBACK_FRAMES:]
    at = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log.error(event, **about, error=type(error).__name__, at=at)
