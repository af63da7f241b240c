"""Publishes the upstream's model list, and records why there is none."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import structlog

from tickertape.broker.connections import Connections
from tickertape.broker.upstream_models import write_models, write_models_fault
from tickertape.worker.upstream.client import Upstream
from tickertape.worker.upstream.errors import NoModelList, UpstreamError, UpstreamGarbage
from tickertape.worker.upstreams.roster import UpstreamTable

log = structlog.get_logger()

_LOGGED_MODELS = 5


@dataclass(frozen=True)
class ModelWatchTiming:
    """The pauses and limits of the model watch. Tests pass shorter ones."""

    # The pause after a list that could not be read or published.
    retry_s: float = 2.0
    # The pause after a list. A key that is refused is known after this time, also without requests.
    again_s: float = 30.0
    # The first claim waits at most this long for the first list.
    first_list_s: float = 3.0


_TIMING = ModelWatchTiming()


class ModelWatch:
    """Keeps the model list in Redis up to date while `run` runs.

    `fault` states why the list cannot be read; None once it was read. `no_list_reason` states that
    the upstream has no list, which is not a fault. Without an upstream there is nothing to watch.
    """

    def __init__(
        self,
        connections: Connections,
        upstream: Upstream | UpstreamTable | None,
        timing: ModelWatchTiming = _TIMING,
    ) -> None:
        self._timing = timing
        self._connections = connections
        self._upstream = upstream
        self._has_answered = asyncio.Event()
        self.fault: str | None = None if upstream is None else "The upstream has not answered yet."
        self.no_list_reason: str | None = None
        # The fault in words that quote nothing of the upstream, for everyone who reads the status.
        self.public_fault: str | None = None

    @property
    def only_models(self) -> tuple[str, ...] | None:
        """The only models that requests may name; None if the upstream may have others."""
        upstream = self._upstream
        return upstream.only_models if isinstance(upstream, UpstreamTable) else None

    async def run(self) -> None:
        """List and publish the models again and again, until cancelled."""
        if self._upstream is None:
            self._has_answered.set()
            return
        while True:
            pause_s = self._timing.retry_s
            with self._connections.faults.contain("model list"):
                pause_s = await self._publish(self._upstream)
            await asyncio.sleep(pause_s)

    async def wait_briefly(self) -> None:
        """Return after the first list, or after a short limit.

        The model list shows whether this upstream can continue an answer. A request that asks for
        that would fail needlessly if it were claimed before. An upstream without a list must not
        keep the worker from claiming.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.first_list_s):
                await self._has_answered.wait()

    async def _publish(self, upstream: Upstream | UpstreamTable) -> float:
        """List once; returns the pause in seconds until the next time. Raises Unavailable."""
        try:
            models = await upstream.list_models()
        except UpstreamError as error:
            return await self._publish_fault(upstream, error)
        if self.fault or self.no_list_reason:
            log.info("models listed", **_listed(models, upstream.model))
        self.fault = self.no_list_reason = self.public_fault = None
        self._has_answered.set()
        await write_models(self._connections, models)
        return self._timing.again_s

    async def _publish_fault(
        self, upstream: Upstream | UpstreamTable, error: UpstreamError
    ) -> float:
        is_missing = isinstance(error, NoModelList)
        before = self.no_list_reason, self.fault
        self.no_list_reason, self.fault = (
            (error.message, None) if is_missing else (None, error.message)
        )
        if before != (self.no_list_reason, self.fault):
            has_chat = not is_missing or await upstream.has_chat()
            log.warning(
                "models not listed",
                reason=error.message,
                upstream_said=error.detail,
                code=error.code,
                status=error.status,
                has_chat=has_chat,
                has_no_list=is_missing,
            )
        self.public_fault = None if is_missing else _public_reason(error)
        pause_s = self._timing.retry_s
        if is_missing:
            pause_s = self._timing.again_s
            self._has_answered.set()
        await write_models_fault(self._connections, _public_reason(error), max(1, int(3 * pause_s)))
        return pause_s


def _listed(models: list[dict[str, Any]], wanted: str | None) -> dict[str, Any]:
    """The fields of a log record: the first models, and whether the default model is in the list.

    `lists_default` is None without a default model.
    """
    names = [str(model["id"]) for model in models]
    aliases = [alias for model in models for alias in _aliases(model)]
    is_listed = None if wanted is None else wanted in names or wanted in aliases
    return {"count": len(names), "models": names[:_LOGGED_MODELS], "lists_default": is_listed}


def _aliases(model: dict[str, Any]) -> list[Any]:
    aliases = model.get("aliases")
    return aliases if isinstance(aliases, list) else []


def _public_reason(error: UpstreamError) -> str:
    """The reason that the API shows to clients. The error's own message may quote the upstream."""
    if isinstance(error, UpstreamGarbage):
        return "The upstream answered with JSON that is not a list of models."
    if error.problem is not None:
        return error.problem
    return (type(error).__doc__ or "").partition("\n")[0]
