"""What all jobs of a worker share, and the rule for calls while Redis is away."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from tickertape.broker.appender import Appender
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import Unavailable
from tickertape.broker.log import Logs
from tickertape.broker.queue import Queue
from tickertape.worker import prompt
from tickertape.worker.upstream.answer_stream import Limits
from tickertape.worker.upstream.client import Upstream

T = TypeVar("T")

_UNAVAILABLE_PAUSE_S = 0.2


@dataclass(frozen=True)
class Tools:
    """What every job of a worker shares."""

    queue: Queue
    appender: Appender
    upstream: Upstream
    logs: Logs
    conversations: Conversations
    limits: Limits
    bounds: prompt.Bounds
    rng: random.Random


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a broker call while Redis is away. All broker calls are safe to repeat."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(_UNAVAILABLE_PAUSE_S)
