"""An empty partition on a real server."""

from collections.abc import AsyncIterator

import pytest

from tests.broker.partition import Partition
from tickertape.broker.connections import Connections


@pytest.fixture
async def partition(redis_url: str) -> AsyncIterator[Partition]:
    """An empty partition. The state machine of test_machine.py covers the fake."""
    connections = Connections(redis_url)
    yield Partition(connections.commands)
    await connections.aclose()
