"""Proxies with the shipped configurations in front of an API and a worker of this process."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.front import Certificate, Front, written
from tests.e2e.curl import Curl, curl
from tests.support.callers import Caller
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

KEY = "the-api-key-of-ada"
NAMES = ["nginx", "haproxy", "caddy"]


@dataclass(frozen=True)
class Behind:
    """Two API processes behind one proxy, and a caller of the proxy."""

    front: Front
    apis: list[RunningApi]
    caller: Caller
    certificate: Certificate
    audit_log: Path

    def reading(
        self, request_id: str, path: Path, *, after: str | None = None
    ) -> AbstractAsyncContextManager[Curl]:
        """Read the request's stream with curl, writing to `path`; from the cursor `after` on."""
        headers = {**self.caller.headers} | ({"Last-Event-ID": after} if after else {})
        url = self.caller.stream_url(request_id)
        return curl(url, path, headers, authority=self.certificate.certificate)

    def audited(self) -> list[dict[str, Any]]:
        """The calls in the audit log."""
        return [json.loads(line) for line in self.audit_log.read_text().splitlines()]


OpenFront = Callable[..., AbstractAsyncContextManager[Behind]]


@pytest.fixture
def open_front(redis_url: str, upstream: ScriptedUpstream, tmp_path: Path) -> OpenFront:
    """Opens a proxy, with `prefix` under a path, in front of two API processes and a worker."""

    @contextlib.asynccontextmanager
    async def open_it(name: str, *, prefix: str = "") -> AsyncIterator[Behind]:
        fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
        settings: dict[str, Any] = {
            "api_keys": f"ada:{KEY}",
            "trusted_proxies": "127.0.0.1",
            "root_path": prefix,
            "audit_log": str(tmp_path / "audit.log"),
        }
        async with contextlib.AsyncExitStack() as stack:
            apis = [
                await stack.enter_async_context(
                    running_api(redis_url, headers={"Authorization": f"Bearer {KEY}"}, **settings)
                )
                for _ in range(2)
            ]
            await stack.enter_async_context(working(redis_url, Settings.model_validate(fields)))
            backends = tuple(api.url.removeprefix("http://") for api in apis)
            front = written(name, tmp_path, backends, prefix=prefix)
            await stack.enter_async_context(front.running())
            made = Certificate(tmp_path / "server.crt", tmp_path / "server.key")
            caller = await stack.enter_async_context(
                Caller(f"{front.url}{prefix}", KEY, tls=made.context())
            )
            yield Behind(front, apis, caller, made, tmp_path / "audit.log")

    return open_it
