"""The log of a request that is not over is read in one trip with its subscription."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager

import pytest

from tests.api.test_hub_faults import UNREADABLE, has, running_hub, text
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tests.support.running_api import running_api
from tests.support.sse import follow
from tests.support.wait import wait_until
from tickertape.api.fanout.hub import Hub
from tickertape.api.protocols.native.wire import NATIVE
from tickertape.broker import first_reads
from tickertape.broker.first_reads import FirstRead, FirstReads, Opening
from tickertape.broker.log import Logs
from tickertape.broker.new_requests import SHORT_BYTES, NewRequest, NewRequests


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running:
        await running.ready()
        yield running


@pytest.fixture
async def hub(rig: Rig) -> AsyncIterator[Hub]:
    async with running_hub(rig, tick_s=60) as running:
        yield running


@contextmanager
def other_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The logs that are read apart from their subscription."""
    read, page = [], Logs.read_page

    async def note(self: Logs, request_id: str, *options: object) -> object:
        read.append(request_id)
        return await page(self, request_id, *options)  # type: ignore[arg-type]  # passed on

    with monkeypatch.context() as patched:
        patched.setattr(Logs, "read_page", note)
        yield read


@asynccontextmanager
async def counted_commands(rig: Rig) -> AsyncIterator[dict[str, int]]:
    """How many commands of each name Redis was sent in the block."""
    counts: dict[str, int] = {}
    await rig.connections.ask("CONFIG", "RESETSTAT")
    yield counts
    stats = await rig.connections.ask("INFO", "commandstats")
    counts |= {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


async def test_a_tape_of_one_trip_has_entries_from_before_and_after_it(
    rig: Rig, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await rig.begin()
    await rig.type("a", "b")
    with other_reads(monkeypatch) as reads:
        async with hub.watch(request_id, is_short=True) as watched:
            assert text(watched) == "ab"
            await rig.type("c")
            await rig.finish()
            await wait_until(lambda: watched.tape.is_over, description="the terminal arrives")
            assert text(watched) == "abc"
    assert reads == []
    assert hub.counts.heals == {"opened": 1}


async def test_a_log_is_rendered_as_it_is_read(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    await rig.type("a", "b")
    async with hub.watch(request_id, is_short=True, dialect=NATIVE) as watched:
        rendering = watched.tape.begin_rendering(NATIVE.name, NATIVE.make)
        assert rendering.seen == len(watched.tape.values) == 4


async def test_no_entry_is_lost_between_the_subscription_and_the_read(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    for number in range(30):
        typing = asyncio.create_task(rig.type(*"abc"))
        async with hub.watch(request_id, is_short=True) as watched:
            await typing
            await has(watched, "abc" * (number + 1))
        hub._end_if_unused(watched)


async def test_a_log_that_is_longer_than_expected_is_read_to_its_end(
    rig: Rig, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = await rig.begin()
    await rig.type(*"a" * 3 * first_reads._ENTRIES)
    with other_reads(monkeypatch) as reads:
        async with hub.watch(request_id, is_short=True) as watched:
            assert text(watched) == "a" * 3 * first_reads._ENTRIES
    assert reads == [request_id]


@pytest.mark.parametrize(("entry_id", "field", "value"), UNREADABLE)
async def test_an_unreadable_entry_ends_only_the_log_of_its_own_trip(
    rig: Rig, hub: Hub, entry_id: str, field: bytes, value: str
) -> None:
    other, request_id = await rig.submit(), await rig.submit()
    await rig.connections.ask("XADD", KEYS.log(request_id), entry_id, field, value)
    async with (
        hub.watch(request_id, is_short=True) as broken,
        hub.watch(other, is_short=True) as sound,
    ):
        assert broken.is_gone
        assert not sound.is_gone


async def test_a_read_that_redis_refuses_breaks_no_subscription(rig: Rig, hub: Hub) -> None:
    other, request_id = await rig.begin(), await rig.submit()
    await rig.connections.ask("DEL", KEYS.log(request_id))
    await rig.connections.ask("SET", KEYS.log(request_id), "no log")
    async with hub.watch(other, is_short=True) as sound:
        async with hub.watch(request_id, is_short=True) as broken:
            assert broken.is_gone
        await rig.type("a")
        await has(sound, "a")
        assert hub.counts.heals["reconnected"] == 0


async def test_more_logs_than_are_read_behind_subscriptions_at_a_time_are_read_apart(
    rig: Rig, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await rig.submit() for _ in range(first_reads._MOST_READS + 4)]
    with other_reads(monkeypatch) as reads:
        all_watched = await asyncio.gather(*(hub.acquire(each, is_short=True) for each in ids))
    assert [each.tape.request_id for each in all_watched] == ids
    assert all(each.tape.is_queued for each in all_watched)
    assert len(reads) == 4


async def test_readers_of_one_trip_learn_what_the_request_waits_for(rig: Rig, hub: Hub) -> None:
    lease = await rig.leased()
    await rig.queue.retry(lease, 60_000, "upstream_busy")
    async with hub.watch(lease.request_id, is_short=True) as watched:
        assert watched.notices["waiting"]["reason"] == "upstream_busy"


async def test_a_connection_that_breaks_before_the_read_reads_with_the_next_one(
    rig: Rig, hub: Hub
) -> None:
    request_id = await rig.begin()
    acquiring = asyncio.create_task(hub.acquire(request_id, is_short=True))
    await asyncio.sleep(0)
    line = hub._push._line(0)
    assert line is not None
    line._bulk.abandon()
    watched = await acquiring
    await rig.type("a")
    await has(watched, "a")


def test_an_error_before_the_subscription_is_no_answer_to_the_read() -> None:
    openings: list[Opening | None] = []
    reads = FirstReads()
    reads.subscribes(1)
    assert len(list(reads.commands(FirstRead("log", "request", openings.append)))) == 2
    assert not reads.answer(None)
    assert reads.confirm()
    assert reads.answer([])
    assert reads.answer(None)
    assert [opening is not None for opening in openings] == [True]
    assert not reads.answer([])


async def test_the_first_reader_behind_a_submit_costs_one_trip(redis_url: str, rig: Rig) -> None:
    async with running_api(redis_url) as api:
        request_id = await api.submit("hi")
        async with (
            counted_commands(rig) as counts,
            aclosing(follow(f"{api.url}/chat/{request_id}/stream")) as stream,
        ):
            assert (await anext(stream)).kind == "queued"
    # Other tasks of the process call HGET, too.
    assert counts["ssubscribe"] == counts["xrange"] == 1
    assert "hmget" not in counts


async def test_a_reader_of_the_text_behind_a_submit_costs_one_trip(
    redis_url: str, rig: Rig
) -> None:
    async with running_api(redis_url) as api:
        request_id = await api.submit("hi")
        url = f"/chat/{request_id}/stream?format=text"
        async with counted_commands(rig) as counts, api.client.stream("GET", url) as answer:
            assert answer.status_code == 200
    # Other tasks of the process call HGET, too.
    assert counts["ssubscribe"] == counts["xrange"] == 1
    assert "hmget" not in counts


async def test_an_agent_reads_the_log_of_its_submit_with_the_subscription(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = {"id": "m", "role": "user", "content": "hi"}
    body = {"threadId": "t", "runId": "r", "messages": [message], "tools": [], "context": []}
    async with running_api(redis_url) as api:
        with other_reads(monkeypatch) as reads:
            async with api.client.stream("POST", "/agui", json=body) as answer:
                assert answer.status_code == 200
    assert len(reads) == 0


async def test_the_readers_behind_the_first_one_cost_no_trip(redis_url: str, rig: Rig) -> None:
    async with running_api(redis_url) as api:
        request_id = await api.submit("hi")
        url = f"{api.url}/chat/{request_id}/stream"
        async with aclosing(follow(url)) as first:
            assert (await anext(first)).kind == "queued"
            async with counted_commands(rig) as counts, aclosing(follow(url)) as second:
                assert (await anext(second)).kind == "queued"
    assert not counts.keys() & {"hmget", "xrange", "ssubscribe"}


async def test_a_request_that_was_erased_behind_its_submit_is_not_found(
    redis_url: str, rig: Rig
) -> None:
    async with running_api(redis_url) as api:
        request_id = await api.submit("hi")
        await rig.requests.cancel(request_id, "public")
        await rig.requests.erase(request_id, "public")
        for form in ("events", "text"):
            answer = await api.client.get(f"/chat/{request_id}/stream?format={form}")
            assert answer.status_code == 404


def test_a_new_request_is_known_to_readers_of_its_tenant_for_a_while() -> None:
    now_s = [0.0]
    new = NewRequests(lambda: now_s[0])
    one = NewRequest("1", "a", 0)
    new.note(one)
    assert new.find("1", "b") is None
    assert new.find("1", "a") is one
    assert new.find("1", "a") is one
    now_s[0] = 60.0
    assert new.find("1", "a") is None


def test_a_large_new_request_is_known_to_its_first_reader() -> None:
    new, large = NewRequests(), NewRequest("1", "a", SHORT_BYTES)
    new.note(large)
    assert not large.is_short
    assert new.find("1", "a") is large
    assert new.find("1", "a") is None


def test_few_new_requests_are_kept() -> None:
    new = NewRequests()
    for number in range(3000):
        new.note(NewRequest(str(number), "a", 0))
    assert new.find("0", "a") is None
    assert new.find("2999", "a") is not None
