"""Processes agree on settings in a cluster and under Sentinels, and again after a loss of data."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import structlog

from tests.support.cluster import valkey_cluster
from tests.support.sentinel import watched_servers
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.agreement import Agreement, read_agreed
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable

pytestmark = pytest.mark.slow

RETENTION = "TICKERTAPE_RETENTION_S"
Harm = Callable[[], object]


@pytest.fixture(params=["cluster", "Sentinels"])
def deployment(request: pytest.FixtureRequest) -> Iterator[tuple[str, Harm]]:
    """The URL of a deployment, and a function that empties it; Sentinels also move the primary."""
    with contextlib.ExitStack() as stack:
        if request.param == "cluster":
            cluster = stack.enter_context(valkey_cluster())
            yield (
                cluster.url,
                lambda: [master.client.flushall() for master in cluster.masters()],
            )
        else:
            watched = stack.enter_context(watched_servers())

            def lose_all() -> None:
                watched.primary.client.flushall()
                watched.fail_over()

            yield watched.url, lose_all


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connections]:
    connections = Connections(url)
    try:
        yield connections
    finally:
        await connections.aclose()


async def test_processes_agree_and_write_the_agreement_again_after_a_loss(
    deployment: tuple[str, Harm],
) -> None:
    url, lose_all = deployment
    async with connected(url) as ours, connected(url) as theirs:
        agreement = Agreement(ours, {RETENTION: "60"}, interval_s=0.05)
        await agreement.start()
        before = await read_agreed(theirs)
        with structlog.testing.capture_logs() as logged:
            await Agreement(theirs, {RETENTION: "90"}).start()
        assert [(line["here"], line["agreed"]) for line in logged] == [("90", "60")]
        async with running(agreement.run()):
            lose_all()

            async def is_back() -> bool:
                with contextlib.suppress(Unavailable):
                    return await read_agreed(theirs) == before
                return False

            await wait_until(is_back, timeout_s=20, description="the agreement to be back")
