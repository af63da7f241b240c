"""Pages of a tenant's requests."""

from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, open_rig
from tickertape.api.protocols.native.paging import Page, page_of


async def test_expired_requests_count_toward_the_entries_that_one_page_reads(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as broker:
        kept, *expired = [await broker.submit() for _ in range(4)]
        for request_id in expired:
            await broker.requests.cancel(request_id, TENANT)
            await broker.connections.ask("DEL", KEYS.request(request_id))
        # Requests of one millisecond are in the order of their ids, so make the kept one older.
        await broker.connections.ask("ZADD", KEYS.index(0, TENANT), "XX", 1, kept)
        await broker.connections.ask("HSET", KEYS.request(kept), "created", 1)
        first, after = await page_of(broker.requests, TENANT, Page(1), None, max_read=2)
        assert first == []
        assert after is not None
        second, end = await page_of(broker.requests, TENANT, Page(1), after, max_read=2)
        assert [record.request_id for record in second] == [kept]
        assert end is None
