"""Two systems in one cluster: neither sees what the other one has, in any partition."""

import pytest

from tests.support.cluster import Cluster
from tests.support.given_settings import GivenSettings
from tests.support.rig import open_rigs, working
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.errors import RequestMissing
from tickertape.broker.queue_depth import read_queue_depth

pytestmark = pytest.mark.slow

REQUESTS = 24


async def test_each_system_runs_its_own_requests_and_finds_no_others(
    cluster: Cluster, upstream: ScriptedUpstream
) -> None:
    given = [
        GivenSettings(
            redis_url=cluster.url,
            namespace=name,
            openai_base_url=upstream.base_url,
            openai_model="m",
        )
        for name in ("ours", "theirs")
    ]
    async with open_rigs(cluster.url, *given) as (ours, theirs):
        asked = [await ours.ask(f"{number}") for number in range(REQUESTS)]
        waiting = await theirs.ask("theirs")
        async with working(cluster.url, given[0]):
            for request_id in asked:
                assert (await ours.ended(request_id)).status == "completed"
        assert (await theirs.record(waiting)).status == "queued"
        for request_id in asked:
            with pytest.raises(RequestMissing):
                await theirs.requests.get(request_id, "public")
        assert (await read_queue_depth(theirs.connections)).waiting == 1
        assert (await read_queue_depth(ours.connections)).waiting == 0
