"""The client of a cluster while other calls close its connections, because the cluster is down."""

import pytest

from tests.support.servers import open_port
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.appender import Appender
from tickertape.broker.connections import Connections
from tickertape.broker.errors import Unavailable
from tickertape.runtime.settings import Settings


@pytest.fixture
def connections() -> Connections:
    """Of a cluster that is away, after a call has closed the connections to it."""
    connections = Connections(f"redis+cluster://127.0.0.1:{open_port()}")
    client = connections._cluster
    assert client is not None
    client._initialize = False
    client.nodes_manager.default_node = None  # type: ignore[assignment]  # as redis-py does
    return connections


async def test_a_call_without_a_default_node_is_unavailable(connections: Connections) -> None:
    with pytest.raises(Unavailable):
        await connections.ask("TIME")
    with pytest.raises(Unavailable):
        await connections.learn_topology()
    await connections.aclose()


async def test_no_error_of_the_client_ends_the_task_that_keeps_the_lines(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []

    async def broken() -> None:
        calls.append(None)
        raise AttributeError

    monkeypatch.setattr(connections, "learn_topology", broken)
    appender = Appender(connections, Settings())
    async with running(appender.run()) as keeping:
        await wait_until(lambda: len(calls) > 2, description="the next tries")
        assert not keeping.done()
    await connections.aclose()
