"""How a failure of ours is logged: where it was, and of its words those of Redis alone."""

import structlog

from tickertape.broker.connections import reply_text
from tickertape.runtime.logs import traceback_places

log = structlog.get_logger("api")


def note_failure(error: Exception, event: str, **about: str) -> None:
    """Log where we failed. The error's own text may quote a prompt, an answer or a key.

    What Redis replied holds none of them, and without it nobody could tell what to mend.
    """
    if (reply := reply_text(error)) is not None:
        about["reply"] = reply
    log.error(event, **about, error=type(error).__name__, at=traceback_places(error))
