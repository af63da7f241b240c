"""What a worker does beside its jobs."""

import random

from tests.support.accounts import ALL, limited_account
from tests.support.rig import open_rig
from tests.support.tasks import running
from tests.support.wait import wait_until
from tickertape.broker.compaction import Compaction
from tickertape.broker.counts import Counts
from tickertape.worker.housekeeping import Housekeeper, HousekeepingTiming

# Within the test, only a refusal makes a second recount due.
ONE_RECOUNT = HousekeepingTiming(round_s=0.02, partition_s=0.02, recount_s=3600)


async def test_a_refused_recount_is_tried_again_in_the_next_round(redis_url: str) -> None:
    with limited_account(redis_url, *ALL, "-smembers") as account:
        async with open_rig(account.url) as rig:
            faults = rig.connections.faults
            housekeeper = Housekeeper(
                Compaction(rig.connections),
                Counts(rig.connections, rig.settings),
                faults,
                partitions=lambda: 1,
                compact_after_s=0,
                rng=random.Random(1),
                timing=ONE_RECOUNT,
            )
            async with running(housekeeper.run()):
                await wait_until(lambda: faults.refused, description="the refusal")
                account.allow(*ALL)
                await wait_until(lambda: faults.refused is None, description="the recount")
