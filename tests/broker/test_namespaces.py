"""Two systems in one database: neither sees what the other one has."""

from collections.abc import AsyncIterator

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig
from tickertape.broker.errors import RequestMissing
from tickertape.broker.leases import Nothing
from tickertape.broker.queue_depth import read_queue_depth


@pytest.fixture
async def systems(redis_url: str) -> AsyncIterator[tuple[Rig, Rig]]:
    ours = Rig(redis_url, GivenSettings(namespace="ours"))
    theirs = Rig(redis_url, GivenSettings(namespace="theirs"))
    yield ours, theirs
    await ours.aclose()
    await theirs.aclose()


async def test_a_worker_claims_only_the_requests_of_its_namespace(
    systems: tuple[Rig, Rig],
) -> None:
    ours, theirs = systems
    request_id = await ours.submit()
    assert isinstance(await theirs.queue.claim(0, "n"), Nothing)
    assert await ours.claim() == request_id


async def test_a_request_of_another_namespace_does_not_exist(systems: tuple[Rig, Rig]) -> None:
    ours, theirs = systems
    request_id = await ours.submit()
    for call in (theirs.requests.get, theirs.requests.cancel, theirs.requests.erase):
        with pytest.raises(RequestMissing):
            await call(request_id, "public")
    assert (await theirs.logs.read(request_id)) == []
    assert (await read_queue_depth(theirs.connections)).waiting == 0
    assert (await read_queue_depth(ours.connections)).waiting == 1


async def test_systems_without_a_namespace_keep_their_keys(redis_url: str) -> None:
    plain = Rig(redis_url)
    try:
        request_id = await plain.submit()
        assert await plain.connections.ask("EXISTS", f"{{p0}}:req:{request_id}") == 1
    finally:
        await plain.aclose()
