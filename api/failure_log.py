"""How failures of this process are logged: the place in the code, and the reply of Redis."""

import structlog

from tickertape.broker.redis_errors import reply_text
from tickertape.runtime.logs import traceback_places

logger = structlog.get_logger("api")


def log_failure(error: Exception, event: str, **fields: str) -> None:
    """Log where the code failed, without the error's message.

    The message may quote a prompt, an answer or a key. A reply of Redis quotes none of them, and
    operators need it to find the cause.
    """
    if (reply := reply_text(error)) is not None:
        fields["reply"] = reply
    logger.error(event, **fields, error=type(error).__name__, at=traceback_places(error))
