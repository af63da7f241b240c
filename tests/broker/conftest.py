"""The same partition on the fake that is quick and on the server that is real."""

from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis

from tests.broker.partition import Partition
from tickertape.broker.connections import Connections

SERVERS = ["fakeredis", "valkey"]


@pytest.fixture(params=SERVERS)
async def partition(request: pytest.FixtureRequest) -> AsyncIterator[Partition]:
    """An empty partition. fakeredis does not know the shebang of a script."""
    if request.param == "fakeredis":
        client = FakeAsyncRedis()
        yield Partition(client, shebang=False)
        await client.aclose()
    else:
        connections = Connections(request.getfixturevalue("redis_url"))
        yield Partition(connections.commands, shebang=True)
        await connections.aclose()
