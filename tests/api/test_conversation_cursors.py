"""A client comes back to a conversation with a cursor behind an end that may be lost."""

from contextlib import aclosing

import pytest
from redis.asyncio import Redis

from tests.api.test_conversation_stream import begin, ids, kinds, queue_next, take
from tests.support.rig import Rig
from tests.support.running_api import RunningApi


async def test_a_turn_that_goes_on_ahead_of_the_cursor_starts_the_conversation_over(
    api: RunningApi, worker: Rig
) -> None:
    """Its end was received, as the cursor shows, and is lost."""
    first = await begin(worker)
    _, queued = await queue_next(worker)
    events = await take(api, 3, after=queued)
    assert kinds(events) == ["rewind", "queued", "started"]
    assert ids(events[1:]) == [first] * 2


async def test_a_turn_that_ran_again_ahead_of_the_cursor_starts_the_conversation_over(
    api: RunningApi, worker: Rig
) -> None:
    """The client had its end before the cursor, and a fail-over lost that end."""
    first = await begin(worker)
    _, queued = await queue_next(worker)
    await worker.reopen()
    await worker.finish(answered="b")
    events = await take(api, 3, after=queued)
    assert kinds(events)[:2] == ["rewind", "queued"]
    assert ids(events[1:]) == [first] * 2


async def test_a_client_that_leaves_at_the_turn_behind_one_that_ran_again_gets_nothing_twice(
    api: RunningApi, worker: Rig
) -> None:
    """A client that always leaves there would otherwise start over each time."""
    await begin(worker)
    second, _ = await queue_next(worker)
    await worker.reopen()
    await worker.finish(answered="b")
    await worker.claim()
    received = await take(api, 5)
    assert kinds(received)[-2:] == ["completed", "queued"]
    events = await take(api, 1, after=received[-1].cursor)
    assert (kinds(events), ids(events)) == (["started"], [second])


@pytest.mark.parametrize("is_cancelled", [False, True])
@pytest.mark.parametrize("leaves_early", [False, True])
async def test_an_end_that_was_lost_with_its_whole_attempt_starts_the_conversation_over(
    api: RunningApi, worker: Rig, *, is_cancelled: bool, leaves_early: bool
) -> None:
    """The turn ahead began and ended behind the last entry of the client, which has no attempt."""
    first = await worker.submit(conversation_id="c1")
    second, _ = await queue_next(worker)
    if is_cancelled:
        assert await api.cancel(second) == "cancelled"
    async with aclosing(Redis.from_url(worker.url)) as server:
        kept = {key: await server.dump(key) for key in await server.keys("*")}
        await worker.claim()
        await worker.finish(answered="a")
        of_second = ["queued", "cancelled"] if is_cancelled else ["queued"]
        received = await take(api, 3 + len(of_second))
        assert kinds(received) == ["queued", "started", "completed", *of_second]
        if leaves_early and is_cancelled:
            received = await take(api, 1, after=received[-2].cursor)
            assert kinds(received) == ["cancelled"]
        await server.delete(*await server.keys("*"))
        for key, value in kept.items():
            assert value is not None
            await server.restore(key, 0, value)
    assert await worker.claim() == first
    await worker.finish(answered="b")
    events = await take(api, 2, after=received[-1].cursor)
    assert kinds(events) == ["rewind", "queued"]


async def test_a_turn_that_began_after_the_next_one_was_queued_is_not_sent_again(
    api: RunningApi, worker: Rig
) -> None:
    await queue_next(worker)
    second, _ = await queue_next(worker)
    await worker.claim()
    await worker.finish(answered="a")
    await worker.claim()
    received = await take(api, 4)
    events = await take(api, 1, after=received[-1].cursor)
    assert (kinds(events), ids(events)) == (["started"], [second])


async def test_a_client_that_has_a_turn_which_was_cancelled_while_it_waited_gets_nothing_twice(
    api: RunningApi, worker: Rig
) -> None:
    await worker.submit(conversation_id="c1")
    second, _ = await queue_next(worker)
    assert await api.cancel(second) == "cancelled"
    third, _ = await queue_next(worker)
    await worker.claim()
    await worker.finish(answered="a")
    received = await take(api, 6)
    assert kinds(received)[2:] == ["completed", "queued", "cancelled", "queued"]
    await worker.claim()
    for last in (3, 4, 5):
        rest = await take(api, 6 - last, after=received[last].cursor)
        assert kinds(rest) == [*kinds(received[last + 1 :]), "started"]
        assert ids(rest)[-1] == third
