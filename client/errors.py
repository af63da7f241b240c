"""Every exception of the client package. All of them are a TickertapeError."""


class TickertapeError(Exception):
    """The base class. `str(error)` is a sentence for the user of a program."""


class ApiUnreachable(TickertapeError):
    """The API did not answer, or is too busy. The call may have run, and may be repeated.

    `wait_s` is the server's Retry-After, else 0. `has_response` is true if a server responded,
    `was_reached` if at least a connection could be opened.
    """

    def __init__(
        self,
        reason: str,
        wait_s: float = 0,
        *,
        has_response: bool = False,
        was_reached: bool = True,
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.has_response = has_response
        self.was_reached = was_reached


class CallRefused(TickertapeError):
    """The server rejected the call. Repeating it fails in the same way.

    `status` is the HTTP status, 0 if the call was not sent or its answer is not Tickertape's.
    `code` is the code of the error, if the server sent one.
    """

    def __init__(self, status: int, reason: str, code: str | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code


class StreamLost(TickertapeError):
    """The server did not answer for too long. `cursor` is the last event read, None if none was.

    The request itself may still run: follow it later with `after=cursor`.
    """

    def __init__(self, reason: str, cursor: str | None) -> None:
        super().__init__(reason)
        self.cursor = cursor


class AnswerRestarted(TickertapeError):
    """The answer starts over after text was yielded. Discard that text, and iterate again."""


class AnswerIncomplete(TickertapeError):
    """The request ended without a complete answer.

    `status` is failed, cancelled or gone; `code` is the code of a failure; `text` is what the
    model wrote before.
    """

    def __init__(self, status: str, reason: str, code: str | None, text: str) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.text = text
