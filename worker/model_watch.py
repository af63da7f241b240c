"""Asks the upstream for its models as long as a worker lives, and knows why it has none to show."""

import asyncio
import contextlib

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.broker.upstream_models import MODELS_TTL_S, write_models, write_models_fault
from tickertape.worker.tools import Tools
from tickertape.worker.upstream.errors import NoModelList, UpstreamError, UpstreamGarbage

log = structlog.get_logger()

_RETRY_S = 2.0
_PAUSE_S = MODELS_TTL_S / 3
_FIRST_LIST_S = 3.0


class ModelWatch:
    """Keeps the list in Redis. `run` has to be running.

    `fault` says why the list cannot be read, None once it was; `note` that there is none, which
    some upstreams that work well do not have.
    """

    def __init__(self, connections: Connections, tools: Tools) -> None:
        self._connections = connections
        self._tools = tools
        self._has_answered = asyncio.Event()
        self.fault: str | None = "The upstream has not answered yet."
        self.note: str | None = None

    async def run(self) -> None:
        """List, publish, and learn what the upstream can do, until cancelled."""
        while True:
            pause_s = _RETRY_S
            with contextlib.suppress(Unavailable):
                pause_s = await self._look()
            await asyncio.sleep(pause_s)

    async def wait_briefly(self) -> None:
        """Before its models are listed nobody knows whether this upstream can continue an answer.

        A request that asks for that, and is claimed earlier, would fail for nothing. An upstream
        that lists no models must not keep us from working.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LIST_S):
                await self._has_answered.wait()

    async def _look(self) -> float:
        """Ask once; returns the time to wait before the next time. Raises Unavailable."""
        tools = self._tools
        try:
            models = await tools.upstream.list_models()
        except UpstreamError as error:
            return await self._failed(error)
        self.fault = self.note = None
        tools.queue.can_continue = tools.upstream.profile.can_continue
        self._has_answered.set()
        await write_models(self._connections, models)
        return _PAUSE_S

    async def _failed(self, error: UpstreamError) -> float:
        is_missing = isinstance(error, NoModelList)
        before = self.note, self.fault
        self.note, self.fault = (error.message, None) if is_missing else (None, error.message)
        if before != (self.note, self.fault):
            log.warning("models not listed", reason=error.message)
        pause_s = _RETRY_S
        if is_missing:
            pause_s = _PAUSE_S
            self._has_answered.set()
        await write_models_fault(self._connections, _kind_of(error), max(1, int(3 * pause_s)))
        return pause_s


def _kind_of(error: UpstreamError) -> str:
    """What the API shows to whoever asks: no message, which may quote the upstream."""
    if isinstance(error, UpstreamGarbage):
        return "The upstream's list of models is not one."
    return (type(error).__doc__ or "").partition("\n")[0]
