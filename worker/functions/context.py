"""What a function knows of the attempt in which it runs, and what it leaves to the next one."""

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tickertape.worker.functions.errors import WrongCheckpoint

MOST_STATE_BYTES = 256 * 1024


async def _keep_nothing(state: bytes) -> None:
    del state


class Context:
    """The attempt in which a function runs. Tests can make one without arguments.

    `attempt` counts from 1. After the death of a worker, a later attempt runs the function from its
    first line. If the function made a checkpoint, `state` is what it gave to the last one, and
    `text` is the text of the answer up to there, which readers have or get again by themselves.
    Otherwise both are empty. Use `request_id`, which stays the same, to make side effects once.
    """

    def __init__(
        self,
        request_id: str = "",
        attempt: int = 1,
        deadline_s: float = 1800.0,
        *,
        state: Any = None,
        text: str = "",
        keep: Callable[[bytes], Awaitable[None]] = _keep_nothing,
    ) -> None:
        self.request_id = request_id
        self.attempt = attempt
        self.state = state
        self.text = text
        self._deadline_at_s = time.monotonic() + deadline_s
        self._keep = keep
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

    async def checkpoint(self, state: Any) -> None:
        """Keep `state`, from which the function goes on if this attempt is interrupted.

        `state` is what JSON can hold, in at most 256 KiB; keep larger things elsewhere, and their
        names in the state. Call this between two values: when it returns, the state and everything
        that was yielded before are in Redis. Another attempt does not get what came later.

        Raises RuntimeError once the answer has ended, in a task that the function has left behind.
        """
        encoded = _json(state)
        await self._keep(encoded)
        self.state = state

    def cancel(self) -> None:
        """Set `cancelled`."""
        self._is_cancelled = True


def _json(state: Any) -> bytes:
    try:
        encoded = json.dumps(state, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        problem = f"its checkpoint is a {type(state).__name__} that JSON cannot hold"
        raise WrongCheckpoint(f"{problem} ({type(error).__name__})") from None
    if len(encoded) > MOST_STATE_BYTES:
        raise WrongCheckpoint(
            f"its checkpoint has {len(encoded)} bytes, more than {MOST_STATE_BYTES}"
        )
    return encoded
