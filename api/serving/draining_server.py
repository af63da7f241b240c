"""A uvicorn server that ends in order: it announces its end, lets calls end, and cuts the rest.

An open stream would delay uvicorn's shutdown indefinitely, because the app's shutdown starts only
after the last connection has closed. Therefore this server bounds the time, and ends the streams.
"""

import asyncio
import functools
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import cast

import structlog
import uvicorn
from fastapi import FastAPI

from tickertape.api.edge.front import headers_of_answers
from tickertape.api.fanout.streams import Streams
from tickertape.api.serving.bounded_protocol import BoundedProtocol
from tickertape.api.serving.bounds import bounds_from
from tickertape.api.serving.doorway import REASONS, Doorway
from tickertape.runtime.processes import END_AT_ONCE, STOP_SIGNALS
from tickertape.runtime.service_manager import STOPPING, notify
from tickertape.runtime.settings import Settings
from tickertape.runtime.wait import wait_at_most

logger = structlog.get_logger("api")

BACKLOG = 4096
# The time that calls have after the streams were cut, also for their 503.
_GRACE_S = 5.0
_SHORT_GRACE_S = 1.0
# Longer than the idle timeout of reverse proxies, which may otherwise reuse a closed connection.
_KEEP_ALIVE_S = 75
_CLOSE = (b"connection", b"close")


def _config(app: FastAPI, doorway: Doorway) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=cast("type[asyncio.Protocol]", functools.partial(BoundedProtocol, doorway=doorway)),
        ws="none",
        lifespan="on",
        # uvicorn's lines go to the program's log. Queries in URLs must never be logged.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
    )


class DrainingServer(uvicorn.Server):
    """Serves until a stop signal, then drains. A second signal cuts what is left.

    After SIGTERM, calls are accepted for another `TICKERTAPE_DRAIN_DELAY_S`, while the readiness
    probe fails. Then native streams are ended, because their clients resume, and all other calls
    have `TICKERTAPE_DRAIN_S` to end. Other signals come from a person, and shorten the first step.

    A child of several processes ends at once at END_AT_ONCE of its parent only, because terminals
    and service managers signal parent and child, which so gets each signal twice.
    """

    def __init__(self, app: FastAPI, *, is_child: bool = False) -> None:
        self.doorway = Doorway(
            bounds_from(app.state.settings), headers_of_answers(app.state.settings)
        )
        super().__init__(_config(app, self.doorway))
        self._app = app
        self._is_child = is_child
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_draining = False
        self._is_hurried = asyncio.Event()
        self._limit: asyncio.Timeout | None = None
        self._end_by_s: float | None = None

    def listen_to_signals(self) -> None:
        """Handle stop signals from now on, before uvicorn installs its handlers.

        Until then, Python's default handler raises SystemExit. If that happens while the event loop
        is created, the exception can be lost, and the process continues, as in 1 of 1,500 starts
        that were stopped at once.
        """
        for number in STOP_SIGNALS:
            # A program under nohup outlives its terminal.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self.handle_exit)
        if self._is_child:
            signal.signal(END_AT_ONCE, self.handle_exit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app and accept connections; `handle_exit` can drain the app from then on."""
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.started:
            self._app.state.services.metrics.watch_edge(REASONS, self.doorway.refusals)

    @asynccontextmanager
    async def listening(self, sockets: list[socket.socket]) -> AsyncIterator[None]:
        """Serve for the length of the block, without signals, as a part of another program."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup(sockets)
        try:
            yield
        finally:
            await self.shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end, or end at once.

        This replaces uvicorn's handler, which raises the signal again after an orderly stop, so
        that every stop would look like a kill.
        """
        del frame
        if self._loop is None or self._loop.is_closed():
            self.should_exit = True
            return
        # The signal may have interrupted any callback of the loop, so only schedule the drain.
        self._loop.call_soon_threadsafe(self._on_signal, sig)

    def _on_signal(self, number: int) -> None:
        is_first = not self._is_draining
        if is_first:
            self._begin_to_drain(self._settings.drain_delay_s if number == signal.SIGTERM else 0.0)
        # A terminal that closes may send SIGHUP twice, by itself and through its shell.
        is_second = not self._is_child and not is_first and number != signal.SIGHUP
        if is_second or number == END_AT_ONCE:
            self.force_exit = self._is_hurried.is_set()
            self._is_hurried.set()
            self.should_exit = True

    def _begin_to_drain(self, delay_s: float) -> None:
        self._is_draining = True
        if not self._is_child:
            # Of several processes, the parent says this for all.
            notify(STOPPING)
        self._streams.announce()
        logger.info(
            "draining",
            open_streams=self._streams.open_streams,
            delay_s=delay_s,
            limit_s=self._settings.drain_s,
        )
        # A kept connection closes with its next answer, so that proxies open new ones elsewhere.
        self.config.encoded_headers = [*self.config.encoded_headers, _CLOSE]
        self.server_state.default_headers = [*self.server_state.default_headers, _CLOSE]
        asyncio.get_running_loop().call_later(delay_s, self._accept_no_more)

    def _accept_no_more(self) -> None:
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, wait for the calls within the limit, cut the rest, and end the app."""
        self._streams.part()
        cutting = asyncio.create_task(self._cut_after_limit(), name="drain limit")
        try:
            await super().shutdown(sockets)
        finally:
            cutting.cancel()
            await asyncio.gather(cutting, return_exceptions=True)

    async def _cut_after_limit(self) -> None:
        # Without a signal, the process ends because of a fault.
        limit_s = self._settings.drain_s if self._is_draining else 0.0
        is_hurried = await wait_at_most(self._is_hurried, limit_s)
        self._streams.drain()
        self._end_in(_SHORT_GRACE_S if is_hurried else _GRACE_S)
        await self._is_hurried.wait()
        self._end_in(_SHORT_GRACE_S)

    def _end_in(self, grace_s: float) -> None:
        end_by_s = asyncio.get_running_loop().time() + grace_s
        self._end_by_s = min(end_by_s, self._end_by_s or end_by_s)
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(self._end_by_s)

    async def _wait_tasks_to_complete(self) -> None:
        try:
            async with asyncio.timeout_at(self._end_by_s) as self._limit:
                await super()._wait_tasks_to_complete()
        finally:
            self._limit = None

    @property
    def _settings(self) -> Settings:
        settings: Settings = self._app.state.settings
        return settings

    @property
    def _streams(self) -> Streams:
        streams: Streams = self._app.state.services.streams
        return streams
