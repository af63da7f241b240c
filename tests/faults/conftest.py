"""The cluster that all tests of a test process share."""

from collections.abc import Iterator

import pytest

from tests.support.cluster import Cluster, valkey_cluster


@pytest.fixture(scope="session")
def one_cluster() -> Iterator[Cluster]:
    with valkey_cluster() as running:
        yield running


@pytest.fixture
def cluster(one_cluster: Cluster) -> Iterator[Cluster]:
    """Three masters with a replica each, without data."""
    for master in one_cluster.masters():
        master.client.flushall()
    yield one_cluster
    one_cluster.revive()
