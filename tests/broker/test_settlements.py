"""Tokens of requests in all partitions are settled where their tenant is counted, each once."""

from collections.abc import AsyncIterator

import pytest

from tests.support.given_settings import GivenSettings
from tests.support.rig import Rig, open_rig, working
from tests.support.tasks import running
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.errors import Unavailable
from tickertape.broker.rates import RateLimit
from tickertape.broker.request_ids import partition_of
from tickertape.broker.seats import home_of
from tickertape.broker.settlements import Settlements
from tickertape.worker.settler import Settler

PARTITIONS = 8
# Empties by one token in 86 s, so that no test sees it.
LIMIT, DAY_MS, RESERVED = 1000, 86_400_000, 100
SETTINGS = GivenSettings(openai_model="m", partitions=PARTITIONS)


def tokens() -> tuple[RateLimit, ...]:
    return (RateLimit("tokens_per_day", "public", LIMIT, DAY_MS, RESERVED, 1, 1),)


async def used(rig: Rig) -> int:
    home = home_of(rig.connections.partitions.map, "public")
    stored = await rig.connections.ask(
        "HGET", rig.connections.keys.rates(home, "public"), "tokens_per_day"
    )
    return round(float(stored.decode().partition("|")[0])) if stored else 0


async def submit_elsewhere(rig: Rig) -> int:
    """Submit and cancel a request in another partition than the tenant's home; the partition."""
    while True:
        request_id = await rig.submit(rates=tokens())
        await rig.requests.cancel(request_id, "public")
        partition = partition_of(request_id)
        if partition != home_of(rig.connections.partitions.map, "public"):
            return partition
        await rig.connections.ask("DEL", rig.connections.keys.rates(partition, "public"))


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, SETTINGS) as rig:
        await rig.connections.agree_on_partitions(PARTITIONS)
        yield rig


async def test_requests_in_every_partition_give_back_what_they_did_not_use(rig: Rig) -> None:
    partitions = set()
    for _ in range(9):
        request_id = await rig.submit(rates=tokens())
        partitions.add(partition_of(request_id))
        await rig.requests.cancel(request_id, "public")
    assert len(partitions) > 1
    for partition in range(PARTITIONS):
        await Settlements(rig.connections).settle(partition)
    assert await used(rig) == 0
    # 1,000 tokens would not let ten more in if those were still reserved.
    for _ in range(10):
        await rig.submit(rates=tokens())


async def test_a_worker_that_dies_before_it_crosses_a_request_off_settles_it_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await rig.submit(rates=tokens())
    partition = await submit_elsewhere(rig)
    before = await used(rig)
    assert before >= RESERVED
    settlements = Settlements(rig.connections)
    ask = rig.connections.ask

    async def dying(*command: str | bytes | float) -> object:
        if command[0] == "XDEL":
            raise Unavailable
        return await ask(*command)

    with monkeypatch.context() as dead:
        dead.setattr(rig.connections, "ask", dying)
        with pytest.raises(Unavailable):
            await settlements.settle(partition)
    once = await used(rig)
    assert once == before - RESERVED
    for _ in range(2):
        await Settlements(rig.connections).settle(partition)
    assert await used(rig) == once
    assert await rig.connections.ask("XLEN", rig.connections.keys.unsettled(partition)) == 0
    assert (await rig.record(first)).state == "queued"


async def test_a_worker_settles_its_requests_soon_after_their_end(
    redis_url: str, upstream: ScriptedUpstream, rig: Rig
) -> None:
    settings = SETTINGS.model_copy(update={"openai_base_url": upstream.base_url})
    async with working(redis_url, settings):
        ids = [await rig.ask("hi", rates=tokens()) for _ in range(6)]
        for request_id in ids:
            assert (await rig.ended(request_id)).status == "completed"

        async def are_settled() -> bool:
            return await used(rig) < 6 * RESERVED / 2

        await wait_until(are_settled, description="the tokens are settled")


async def test_what_a_killed_worker_left_is_settled_by_the_next_sweep(rig: Rig) -> None:
    partition = await submit_elsewhere(rig)
    reserved = await used(rig)
    settler = Settler(
        Settlements(rig.connections),
        rig.connections.faults,
        partitions=lambda: PARTITIONS,
        sweep_s=0.01,
    )

    async def is_settled() -> bool:
        return not await rig.connections.ask("XLEN", rig.connections.keys.unsettled(partition))

    async with running(settler.run()):
        await wait_until(is_settled, description="the sweep settles")
    assert await used(rig) == reserved - RESERVED
