"""The readers of a conversation are counted over all API processes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import open_stream
from tests.support.wait import wait_until
from tickertape.api.fanout.watchers import Watchers
from tickertape.api.services import ApiTiming
from tickertape.broker.errors import Unavailable
from tickertape.broker.watchers import ConversationPlace, WatcherCounts

FAST = ApiTiming(watchers_interval_s=0.05)


class Watching:
    """A reader of the conversation c1, and the events that it has received."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.kinds: list[str] = []

    async def until(self, count: int) -> None:
        await wait_until(
            lambda: self.counts[-1:] == [count], description=f"the count to become {count}"
        )


@contextlib.asynccontextmanager
async def watching(api: RunningApi) -> AsyncIterator[Watching]:
    reader = Watching()

    async def read() -> None:
        url = f"{api.url}/conversations/c1/stream"
        async with open_stream(url, shows_watchers=True) as stream:
            async for event in stream:
                reader.kinds.append(event.kind)
                if event.kind == "watchers":
                    assert event.cursor is None
                    reader.counts.append(event.data["count"])

    task = asyncio.create_task(read(), name="reader")
    try:
        await wait_until(lambda: reader.counts, description="the first count")
        yield reader
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_readers_of_two_processes_add_up_and_go_away(redis_url: str) -> None:
    async with (
        running_api(redis_url, timing=FAST) as one,
        running_api(redis_url, timing=FAST) as two,
        watching(one) as first,
    ):
        assert first.kinds[0] == "watchers"
        async with watching(one), watching(two) as third:
            await first.until(3)
            await third.until(3)
        await first.until(1)


async def test_a_count_arrives_in_the_middle_of_an_answer_and_in_silence(
    redis_url: str, worker: Rig
) -> None:
    messages = [{"role": "user", "content": "hi"}]
    async with running_api(redis_url, timing=FAST) as api, watching(api) as first:
        async with watching(api):
            await first.until(2)
        await first.until(1)
        await worker.begin(conversation_id="c1", question=messages)
        await worker.type("a")
        await wait_until(lambda: "delta" in first.kinds, description="the answer to begin")
        async with watching(api):
            await first.until(2)
        await worker.finish(answered="a")
        await wait_until(lambda: "completed" in first.kinds, description="the answer to end")
        await first.until(1)


async def test_the_counts_of_a_killed_process_run_out(worker: Rig) -> None:
    place = (0, "k")
    killed = WatcherCounts(worker.connections, "killed")
    alive = WatcherCounts(worker.connections, "alive")
    await killed.exchange({place: 5}, [place], valid_s=60)
    assert await alive.exchange({place: 1}, [place], valid_s=60) == {place: 5}
    await killed.exchange({place: 5}, [place], valid_s=-1)
    assert await alive.exchange({}, [place], valid_s=60) == {place: 0}


async def test_a_field_that_no_process_wrote_is_no_reader(worker: Rig) -> None:
    await worker.connections.ask("HSET", "{p0}:watch:k", "other", "many:soon")
    counts = WatcherCounts(worker.connections, "alive")
    assert await counts.exchange({}, [(0, "k")], valid_s=60) == {(0, "k"): 0}


class RecordedCounts(WatcherCounts):
    """Records the exchanges in place of Redis, which can be away."""

    def __init__(self) -> None:
        self.asked: list[list[ConversationPlace]] = []
        self.written: list[dict[ConversationPlace, int]] = []
        self.valid_s = 0.0
        self.is_away = False

    async def exchange(
        self,
        counts: Mapping[ConversationPlace, int],
        places: Sequence[ConversationPlace],
        valid_s: float,
    ) -> dict[ConversationPlace, int]:
        self.asked.append(list(places))
        self.written.append(dict(counts))
        self.valid_s = valid_s
        if self.is_away:
            raise Unavailable
        return dict.fromkeys(places, 0)


def _ignore(count: int) -> None:
    del count


async def test_many_conversations_take_turns_so_that_an_interval_has_a_bounded_cost() -> None:
    counts = RecordedCounts()
    watchers = Watchers(counts, interval_s=0, most_per_interval=100)
    with contextlib.ExitStack() as readers:
        for number in range(1000):
            readers.enter_context(watchers.join((0, str(number)), _ignore))
        assert watchers.readers == 1000
        running = asyncio.create_task(watchers.run())
        await wait_until(lambda: len(counts.asked) >= 40, description="two rounds")
        running.cancel()
    first, second = counts.asked[:20], counts.asked[20:40]
    assert all(len(places) == 50 for places in counts.asked)
    for turn in (first, second):
        assert len({place for places in turn for place in places}) == 1000
    # What was written once is not written again before it runs out.
    assert sum(map(len, counts.written[:20])) == 1000
    assert sum(map(len, counts.written[20:40])) == 0


async def test_without_redis_a_process_counts_its_own_readers() -> None:
    counts = RecordedCounts()
    counts.is_away = True
    watchers = Watchers(counts, interval_s=0)
    seen: list[int] = []
    running = asyncio.create_task(watchers.run())
    with watchers.join((0, "k"), seen.append) as own, watchers.join((0, "k"), _ignore) as both:
        assert (own, both) == (1, 2)
        await wait_until(lambda: seen == [2], description="the count of both")
    running.cancel()


async def test_a_crowd_that_arrives_at_once_costs_each_reader_one_notice() -> None:
    counts = RecordedCounts()
    watchers = Watchers(counts, interval_s=0.01)
    seen: list[int] = []
    with contextlib.ExitStack() as readers:
        readers.enter_context(watchers.join((0, "k"), seen.append))
        for _ in range(99):
            readers.enter_context(watchers.join((0, "k"), _ignore))
        running = asyncio.create_task(watchers.run())
        await wait_until(lambda: len(counts.asked) >= 3, description="three intervals")
        assert seen == [100]
        running.cancel()
