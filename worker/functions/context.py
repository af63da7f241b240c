"""What a function knows of the attempt in which it runs."""

import time


class Context:
    """The attempt in which a function runs. Tests can make one without arguments.

    `attempt` counts from 1. A later attempt runs the function from its start: after the death of a
    worker, or a restart. Use `request_id`, which stays the same, to make side effects once.
    """

    def __init__(self, request_id: str = "", attempt: int = 1, deadline_s: float = 1800.0) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self._deadline_at_s = time.monotonic() + deadline_s
        self._is_cancelled = False

    @property
    def remaining_s(self) -> float:
        """The seconds until the attempt must have ended; never below 0."""
        return max(0.0, self._deadline_at_s - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the answer any more. Threads may read this.

        The function itself is cancelled at the `await` where it stands.
        """
        return self._is_cancelled

    def cancel(self) -> None:
        """Set `cancelled`."""
        self._is_cancelled = True
