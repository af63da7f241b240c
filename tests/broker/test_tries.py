"""Calls that SDKs repeat: which request a repeated one finds, and how long it is known."""

from tests.broker.checked_partition import TAG, Reply
from tests.broker.partition import Partition

MINUTE_MS = 60_000


async def retry(partition: Partition, id_: str, tenant: str = "t") -> Reply:
    return await partition.submit(id_, tenant, tries="d", is_retry=True)


async def ended(partition: Partition, id_: str, *, ago_ms: int) -> None:
    """Have a request that is over look as if it had ended some time ago."""
    now_s, _ = await partition.client.time()
    await partition.client.hset(f"{TAG}req:{id_}", "ended", str(now_s * 1000 - ago_ms))


async def test_a_repeated_call_without_an_earlier_one_is_a_new_request(
    partition: Partition,
) -> None:
    assert await retry(partition, "a") == ("OK", "a")
    assert await retry(partition, "b") == ("EXISTS", "a")


async def test_only_a_request_that_has_just_ended_is_found(partition: Partition) -> None:
    await partition.submit("a", tries="d")
    await partition.finish(await partition.take(), 1, state="completed")
    await ended(partition, "a", ago_ms=MINUTE_MS)
    assert await retry(partition, "b") == ("EXISTS", "a")
    await ended(partition, "a", ago_ms=3 * MINUTE_MS)
    assert await retry(partition, "c") == ("OK", "c")


async def test_a_request_of_another_tenant_is_not_found_whatever_the_name(
    partition: Partition,
) -> None:
    await partition.submit("a", "t", tries="d")
    assert await retry(partition, "b", "u") == ("OK", "b")


async def test_a_submit_of_a_repeated_call_can_be_repeated(partition: Partition) -> None:
    assert [await retry(partition, "a") for _ in range(2)] == [("OK", "a"), ("EXISTS", "a")]


async def test_requests_of_one_body_are_found_in_turn_and_few_are_known(
    partition: Partition,
) -> None:
    for number in range(40):
        await partition.submit(f"r{number}", tries="d")
    found = [(await retry(partition, "new"))[1] for _ in range(33)]
    assert found == [f"r{number}" for number in range(8, 40)] + ["r8"]


async def test_what_is_known_of_a_body_expires(partition: Partition) -> None:
    await partition.submit("a", tries="d")
    assert 0 < await partition.client.pttl(f"{TAG}tries:d") <= 15 * MINUTE_MS


async def test_a_call_without_a_count_leaves_nothing(partition: Partition) -> None:
    await partition.submit("a")
    assert await partition.client.keys(f"{TAG}tries:*") == []
