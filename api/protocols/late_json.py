"""A JSON answer that takes long: white space keeps its connection open until the answer comes.

Proxies and clients give up on a connection that is silent for a minute or so. JSON allows white
space before its first value, so a call that waits sends the head and a space from time to time.
"""

import asyncio
import json

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tickertape.api.edge.problems import Problem
from tickertape.api.protocols.error_replies import REPEATABLE

_SPACE = b" "


class LateJson(Response):
    """Sends 200 at once, a space every `interval_s`, and then the JSON that `content` returns.

    A Problem that `content` raises becomes a JSON error, which has its status in `error.status`.
    After an error that a repeated call does not meet, the connection is broken off, so that clients
    repeat the call. Owns the task `content`.
    """

    def __init__(
        self, content: asyncio.Task[bytes], interval_s: float, headers: dict[str, str]
    ) -> None:
        self.status_code = 200
        self.background = None
        self._content = content
        self._interval_s = interval_s
        # Without the last one, nginx keeps the white space to itself.
        self.init_headers(
            {**headers, "Content-Type": "application/json", "X-Accel-Buffering": "no"}
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, white space and the answer."""
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not await done_within(self._content, self._interval_s):
                await send({"type": "http.response.body", "body": _SPACE, "more_body": True})
            try:
                body = self._content.result()
            except Problem as problem:
                if problem.code in REPEATABLE:
                    return
                body = _late_error(problem)
            await send({"type": "http.response.body", "body": body, "more_body": False})
        finally:
            await cancelled(self._content)


async def done_within(task: asyncio.Task[bytes], limit_s: float) -> bool:
    """Whether the task ends within the limit. Raises nothing of the task."""
    done, _ = await asyncio.wait({task}, timeout=limit_s)
    return bool(done)


async def cancelled(task: asyncio.Task[bytes]) -> None:
    """Cancel the task if it runs, and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _late_error(problem: Problem) -> bytes:
    body = problem.body()
    body["error"]["status"] = problem.status_code
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
