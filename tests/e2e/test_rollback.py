"""A system is upgraded from release 0.1.0 to this tree, and rolled back, with the same Redis."""

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment, api_url
from tests.support.releases import COMMITS, Release, extract_release
from tests.support.servers import ValkeyServer
from tests.support.sse import collect, text_of
from tests.support.stored_keys import add_key
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.access import AccessRecords
from tickertape.broker.connections import Connections

# Six processes start one after the other.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

Make = Callable[[], Deployment]


@pytest.fixture
def makes(own_redis: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path) -> tuple[Make, Make]:
    """Deployments of release 0.1.0 and of this tree."""
    (version,) = COMMITS
    tree = extract_release(version, tmp_path)
    urls = {"redis_url": own_redis.url, "upstream_url": upstream.base_url}
    # All that a release writes must be there for the next one: nothing is compacted in between.
    settings = {"TICKERTAPE_COMPACT_AFTER_S": "0"}
    counter = itertools.count()

    def folder() -> Path:
        """A folder for the logs of one deployment."""
        made = tmp_path / str(next(counter))
        made.mkdir()
        return made

    return (
        lambda: Release(version, tree, folder(), **urls),
        lambda: Deployment(folder(), **urls, **settings),
    )


class System:
    """One release at work: an API, and a worker that may be stopped before it."""

    def __init__(self, make: Make) -> None:
        self._deployment = make()
        api, self._worker = self._deployment.start_api(), self._deployment.start_worker()
        api.logged_sync("ready for requests")
        self._worker.logged_sync("working")
        self.url = api_url(api)

    async def ask(self, message: str) -> str:
        """Submit a message in the conversation `c`, and wait for its whole answer."""
        async with Caller(self.url) as caller:
            request_id = await caller.submit(message, conversation_id="c")
            events = await collect(caller.stream_url(request_id))
            assert events[-1].kind == "completed"
        return request_id

    async def leave_waiting(self, message: str) -> str:
        """Stop the worker, submit a message of its own, and stop everything."""
        self._worker.process.terminate()
        await self._worker.ended()
        async with Caller(self.url) as caller:
            request_id = await caller.submit(message, idempotency_key=message)
        await asyncio.to_thread(self._deployment.close)
        return request_id

    async def text(self, request_id: str) -> str:
        """The text of an answer as it is streamed, which is that of the request's state."""
        async with Caller(self.url) as caller:
            text = text_of(await collect(caller.stream_url(request_id)))
            assert (await caller.read(request_id))["text"] == text
        return text

    async def close(self) -> None:
        """Stop everything."""
        await asyncio.to_thread(self._deployment.close)


async def test_an_upgrade_and_its_rollback_keep_answers_queue_and_conversations(
    makes: tuple[Make, Make], upstream: ScriptedUpstream
) -> None:
    old, new = makes
    ended: list[str] = []
    waiting: list[str] = []
    for make in (old, new, old):
        system = System(make)
        try:
            for request_id in (*ended, *waiting):
                assert await system.text(request_id) == "Hello, world."
            ended.append(await system.ask(f"turn {len(ended)}"))
            async with Caller(system.url) as caller:
                # A repeated submit is the request of the other release.
                for number, request_id in enumerate(waiting):
                    again = await caller.submit(f"left-{number}", idempotency_key=f"left-{number}")
                    assert again == request_id
            waiting.append(await system.leave_waiting(f"left-{len(waiting)}"))
        finally:
            await system.close()
    asked = [
        message["content"]
        for message in upstream.calls[-1].body["messages"]
        if message["role"] == "user"
    ]
    assert asked == ["turn 0", "turn 1", "turn 2"]


async def test_after_a_rollback_keys_of_redis_protect_nothing(
    makes: tuple[Make, Make], own_redis: ValkeyServer
) -> None:
    """docs/operation.md has operators write the keys into TICKERTAPE_API_KEYS before."""
    old, new = makes
    connections = Connections(own_redis.url)
    try:
        await add_key(AccessRecords(connections), "acme")
    finally:
        await connections.aclose()
    for make, status in ((new, 401), (old, 200)):
        deployment = make()
        api = deployment.start_api()
        await api.logged("ready for requests")
        async with Caller(api_url(api)) as caller:
            assert (await caller.client.get("/roles")).status_code == status
        await asyncio.to_thread(deployment.close)
