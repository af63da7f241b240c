"""The real app on a real socket, in the event loop of the test."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import uvicorn.server

from tests.support.callers import Caller
from tests.support.given_settings import GivenSettings
from tests.support.hosts import MOUNT_PATH, in_host
from tests.support.wait import wait_until
from tickertape.api.app import create_app
from tickertape.api.edge.caller import Authenticator
from tickertape.api.hosting import Hosting
from tickertape.api.services import TIMING, ApiTiming, Services
from tickertape.api.serving.draining_server import DrainingServer
from tickertape.roles import Roles, load_roles
from tickertape.runtime.secret_files import SecretFile
from tickertape.runtime.tracing import Tracer


class _ShortPauses:
    """asyncio for uvicorn, whose server looks ten times a second whether it should end.

    Its end takes two or three such pauses, which would be most of the time of a test.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s / 20)


vars(uvicorn.server)["asyncio"] = _ShortPauses()


@cache
def _built_in_roles() -> Roles:
    return load_roles()


class RunningApi(Caller):
    """A caller with access to its server's objects. `problems` lists the server's fatal errors.

    `operators_url` is the address for operators, if the settings have a port for it.
    """

    def __init__(
        self,
        url: str,
        server: DrainingServer,
        services: Services,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(url, headers=headers)
        self.server = server
        self.services = services
        self.problems: list[str] = []
        self.operators_url = ""


@contextlib.asynccontextmanager
async def running_api(
    redis_url: str,
    *,
    roles: Roles | None = None,
    open_to_all: bool = False,
    wait_for_redis: bool = True,
    headers: Mapping[str, str] | None = None,
    timing: ApiTiming = TIMING,
    authenticator: Authenticator | None = None,
    opens_operator_port: bool = True,
    files: Mapping[str, SecretFile] | None = None,
    tracer: Tracer | None = None,
    **settings: Any,
) -> AsyncIterator[RunningApi]:
    """Run the app for the length of the block; open streams end with the block."""
    problems: list[str] = []
    listeners = [socket.create_server(("127.0.0.1", 0))]
    operator_port = None
    if settings.get("metrics_port") is not None and opens_operator_port:
        listeners.append(socket.create_server(("127.0.0.1", 0)))
        operator_port = listeners[1].getsockname()[1]
    hosting = Hosting(operator_port, tracer=tracer)
    if MOUNT_PATH and "root_path" not in settings:
        settings["root_path"] = MOUNT_PATH
    app = create_app(
        GivenSettings(redis_url=redis_url, **settings).read_from(files or {}),
        roles=_built_in_roles() if roles is None and "roles_dir" not in settings else roles,
        open_to_all=open_to_all,
        on_fatal=problems.append,
        # A probe is answered by a look that it causes.
        timing=replace(timing, look_age_s=0.0),
        authenticator=authenticator,
        hosting=hosting,
    )
    server = DrainingServer(in_host(app) if MOUNT_PATH else app)
    url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}{MOUNT_PATH}"
    serving = asyncio.create_task(server.serve(listeners), name="server")
    try:
        await wait_until(lambda: server.started, description="the server listens")
        async with RunningApi(url, server, app.state.services, headers) as api:
            api.problems = problems
            if hosting.operator_port is not None:
                api.operators_url = f"http://127.0.0.1:{hosting.operator_port}"
            if wait_for_redis:
                await wait_until(api.is_ready, description="the API is ready")
            yield api
    finally:
        app.state.services.streams.drain()
        server.should_exit = True
        await serving
