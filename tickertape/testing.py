"""A whole system in the process of a test: an API, a worker and a real server in place of Redis.

A test of a function asks it over HTTP, as a client would, and can take its worker away in the
middle of an answer. The server starts once for each process of tests, in about 50 ms, and ends with
the process. A system takes a few milliseconds to start, and has a namespace of its own.
"""

import asyncio
import atexit
import functools
import secrets
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from tickertape.api.app import create_app
from tickertape.api.services import TIMING as API_TIMING
from tickertape.api.serving.draining_server import DrainingServer
from tickertape.broker.connections import Connections
from tickertape.broker.fleet import Fleet
from tickertape.broker.queue import Queue
from tickertape.cli.up.valkey import embedded_server
from tickertape.client import AnswerIncomplete, AsyncClient
from tickertape.client.async_answer import AsyncAnswer
from tickertape.client.results import Answered
from tickertape.client.submission import Messages, SubmitOptions
from tickertape.runtime.given_settings import GivenSettings
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import TIMING, build_worker
from tickertape.worker.functions.context import Context
from tickertape.worker.functions.definition import Function
from tickertape.worker.functions.request import Request

if TYPE_CHECKING:
    from tickertape.worker.functions.values import Value

__all__ = ["System", "system"]

_SLOTS = 64
# A probe is answered by a look that it causes.
_API_TIMING = replace(API_TIMING, look_age_s=0.0)
_POLL_S = 0.005
# A lease that ends at once, as that of a dead worker does after its time.
_NO_LEASE_S = 0.001


@dataclass
class _Errors:
    """What functions have raised, by the request."""

    of_requests: dict[str, Exception] = field(default_factory=dict)

    def kept(self, function: Function) -> Function:
        """The function, whose errors are kept."""

        async def body(request: Request, context: Context) -> "AsyncIterator[Value]":
            try:
                async with aclosing(function.run(request, context)) as values:  # type: ignore[type-var]  # checked by the decorator
                    async for value in values:
                        yield value
            except Exception as error:
                self.of_requests[request.id] = error
                raise

        return Function(function.name, body, function.on_interruption)


class System:
    """A running system.

    `client` is a client of its API, whose address is `url`. Clients of other protocols use
    `{url}/v1` or `{url}/api/chat`, without a key.
    """

    def __init__(self, settings: Settings, redis_url: str, functions: tuple[Function, ...]) -> None:
        self.url = ""
        self.client: AsyncClient
        self._settings = settings
        self._redis_url = redis_url
        self._errors = _Errors()
        self._functions = [self._errors.kept(each) for each in functions]
        self._workers = 0
        self._dying = asyncio.Event()
        self._working: asyncio.Task[None] | None = None

    async def submit(self, message: Messages, **options: Unpack[SubmitOptions]) -> AsyncAnswer:
        """Submit a request, and return its answer, of which nothing was read yet.

        `model` is the name of the function; without `model`, the only function is asked.
        """
        if len(self._functions) == 1:
            options.setdefault("model", self._functions[0].name)
        return await self.client.submit(message, **options)

    async def ask(self, message: Messages, **options: Unpack[SubmitOptions]) -> Answered:
        """The whole answer to a request; see `submit`.

        Raises AnswerIncomplete if the request fails, from the error of the function if that raised
        one.
        """
        return await self.whole(await self.submit(message, **options))

    async def whole(self, answer: AsyncAnswer) -> Answered:
        """The whole answer, once the request has ended; raises as `ask` does."""
        try:
            return await answer.wait()
        except AnswerIncomplete as incomplete:
            raise incomplete from self._errors.of_requests.get(answer.request_id)

    async def shows(self, answer: AsyncAnswer, text: str) -> None:
        """Return as soon as readers have this text of the answer. Raises AnswerIncomplete."""
        read = ""
        async for piece in answer.text:
            read += piece
            if text in read:
                return
        raise AssertionError(f"the answer ended as {read!r}, without {text!r}")

    async def kill_worker(self) -> None:
        """End the worker as if its process was killed, and start another one.

        The other worker takes over what was running at once, without the wait for the lease. In one
        process, a killed function still runs its `finally` blocks.
        """
        await self._end_worker()
        await self._start_worker()

    async def _start_worker(self) -> None:
        self._workers += 1
        ready = asyncio.Event()
        self._dying = asyncio.Event()
        work = self._work(f"testing-{self._workers}", ready, self._dying)
        self._working = asyncio.create_task(work, name="worker")
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({self._working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._working.done():
            self._working.result()

    async def _end_worker(self) -> None:
        if self._working is not None:
            self._dying.set()
            await self._working

    async def _work(self, name: str, ready: asyncio.Event, dying: asyncio.Event) -> None:
        """Work until `dying` is set."""
        connections = self._connections()
        worker = build_worker(
            connections, self._settings, name, _SLOTS, TIMING, None, self._functions
        )
        try:
            # The upstream of these tools is never opened, because this worker serves none.
            working = asyncio.create_task(worker.work(ready.set), name="work")
            ended = asyncio.create_task(dying.wait())
            await asyncio.wait({working, ended}, return_when=asyncio.FIRST_COMPLETED)
            ended.cancel()
            leases = worker.consumer.leases
            working.cancel()
            await asyncio.wait({working})
            short = self._settings.model_copy(update={"lease_s": _NO_LEASE_S})
            if leases:
                await Queue(connections, short, worker=name).renew(leases)
            if not working.cancelled():
                working.result()
        finally:
            await connections.aclose()

    def _connections(self) -> Connections:
        return Connections(self._redis_url, namespace=self._settings.namespace, partitions=1)

    async def announced(self) -> None:
        """Return when an API that starts now knows the functions."""
        connections = self._connections()
        try:
            names = {each.name for each in self._functions}
            while not names <= set((await Fleet(connections).members()).announced):  # noqa: ASYNC110
                await asyncio.sleep(_POLL_S)
        finally:
            await connections.aclose()


@asynccontextmanager
async def system(*functions: Function, redis_url: str | None = None) -> AsyncIterator[System]:
    """Run a system with these functions for the length of the block.

    `redis_url` names a Redis to use; without it, a server starts with the first system of the
    process, which needs the extra `local` (docs/testing.md) or a valkey-server or redis-server on
    the PATH. No variable of the environment and no `.env` file counts. Raises EmbeddedServerError.
    """
    url = redis_url or _server()
    settings = GivenSettings(redis_url=url, namespace=f"t{secrets.token_hex(6)}")
    running = System(settings, url, functions)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(running._end_worker)  # noqa: SLF001  # of this module
        await running._start_worker()  # noqa: SLF001
        await running.announced()
        listener = socket.create_server(("127.0.0.1", 0))
        server = DrainingServer(create_app(settings, timing=_API_TIMING))
        await stack.enter_async_context(server.listening([listener]))
        running.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        running.client = await stack.enter_async_context(AsyncClient(running.url, api_key=""))
        while not await running.client.is_ready():  # noqa: ASYNC110  # another process may answer
            await asyncio.sleep(_POLL_S)
        yield running


@functools.cache
def _server() -> str:
    """The address of the server of this process."""
    stack = ExitStack()
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tickertape-testing-"))
    settings = {"appendonly": "no"}
    server = stack.enter_context(embedded_server(Path(folder), settings=settings))
    atexit.register(stack.close)
    return server.url
