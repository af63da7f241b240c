"""The hub when pushes are invalid, logs are broken, caches are full, or Redis does not answer."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.pushes import lost_pushes
from tests.support.rig import Rig, open_rig
from tests.support.wait import wait_until
from tickertape.api.fanout.hub import Hub
from tickertape.api.fanout.hub_limits import HubLimits
from tickertape.api.fanout.watched_log import WatchedLog
from tickertape.api.protocols.native.text_wire import TextWire
from tickertape.broker.codec import FIELD, encode_text
from tickertape.broker.errors import TooManyLargeLogs, Unavailable
from tickertape.broker.log import PAGE_ENTRIES
from tickertape.runtime.settings import Settings

QUIET_S = 60  # so rare that no tail check heals the tape
UNREADABLE = [
    ("9999999999999-0", FIELD, "?"),
    ("9999999999999-0", b"another", "dx"),
    ("10000000000000000-0", FIELD, "dx"),
]


@contextlib.asynccontextmanager
async def running_hub(
    rig: Rig, *, heartbeat_s: float = QUIET_S, **limits: Any
) -> AsyncIterator[Hub]:
    hub = Hub(rig.connections, Settings(heartbeat_s=heartbeat_s), HubLimits(**limits))
    task = asyncio.create_task(hub.run(), name="hub")
    try:
        await wait_until(lambda: hub.is_up, description="the push connection is up")
        yield hub
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def rig(redis_url: str) -> AsyncIterator[Rig]:
    async with open_rig(redis_url) as running:
        await running.ready()  # an append that has to connect first would arrive after a heal
        yield running


@pytest.fixture
async def hub(rig: Rig) -> AsyncIterator[Hub]:
    async with running_hub(rig, tick_s=QUIET_S) as running:
        yield running


def text(watched: WatchedLog) -> str:
    return b"".join(watched.tape.rendering("text", TextWire).frames).decode()


async def has(watched: WatchedLog, expected: str) -> None:
    await wait_until(
        lambda: text(watched) == expected, description=f"the tape to contain {expected!r}"
    )


async def push(rig: Rig, request_id: str, message: bytes) -> None:
    await rig.connections.ask("SPUBLISH", KEYS.log_channel(request_id), message)


async def finished(rig: Rig, text: str) -> str:
    request_id = await rig.begin()
    await rig.type(text)
    await rig.finish()
    return request_id


@pytest.mark.parametrize("message", [b"", b"nonsense", b"~aside\nno json", b"1-1\n99:too short"])
async def test_an_invalid_push_makes_the_hub_read_the_log(
    rig: Rig, hub: Hub, message: bytes
) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        with lost_pushes(hub):
            await rig.type("a")
        await push(rig, request_id, message)
        await has(watched, "a")


async def test_a_gone_notice_ends_a_log_at_once(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    async with hub.watch(request_id) as watched:
        await push(rig, request_id, b"~gone\n{}")
        await wait_until(lambda: watched.is_gone, description="the tape to be gone")


@pytest.mark.parametrize(("entry_id", "field", "value"), UNREADABLE)
async def test_an_unreadable_entry_ends_only_its_log(
    rig: Rig, hub: Hub, entry_id: str, field: bytes, value: str
) -> None:
    other = await rig.submit()
    request_id = await rig.submit()
    await rig.connections.ask("XADD", KEYS.log(request_id), entry_id, field, value)
    async with hub.watch(request_id) as broken, hub.watch(other) as sound:
        assert broken.is_gone
        assert not sound.is_gone
        assert await rig.claim() == other
        await rig.type("a")
        await has(sound, "a")


@pytest.mark.parametrize(("entry_id", "field", "value"), UNREADABLE)
async def test_an_unreadable_entry_that_was_not_pushed_ends_only_its_log(
    rig: Rig, entry_id: str, field: bytes, value: str
) -> None:
    async with running_hub(rig, heartbeat_s=0.1, tick_s=0.02) as hub:
        other = await rig.submit()
        request_id = await rig.submit()
        async with hub.watch(request_id) as broken, hub.watch(other) as sound:
            await rig.connections.ask("XADD", KEYS.log(request_id), entry_id, field, value)
            await wait_until(lambda: broken.is_gone, description="the broken tape to be gone")
            with lost_pushes(hub):
                assert await rig.claim() == other
                await rig.type("a")
                await has(sound, "a")


async def test_a_log_is_read_only_up_to_its_terminal(rig: Rig, hub: Hub) -> None:
    request_id = await finished(rig, "a")
    log_key = KEYS.log(request_id)
    (last, _), *_ = await rig.connections.ask("XREVRANGE", log_key, "+", "-", "COUNT", "1")
    attempt, _, seq = last.decode().partition("-")
    for after in range(1, 2 * PAGE_ENTRIES + 1):
        entry = f"{attempt}-{int(seq) + after}"
        await rig.connections.ask("XADD", log_key, entry, FIELD, encode_text("delta", "b"))
    async with hub.watch(request_id) as watched:
        assert watched.tape.is_over
        assert text(watched) == "a"


async def test_a_log_that_is_replaced_at_every_read_is_given_up(rig: Rig) -> None:
    async with running_hub(rig, tick_s=QUIET_S, max_rewinds=3) as hub:
        request_id = await rig.begin()
        await rig.type(*"abcd")
        async with hub.watch(request_id) as watched:
            for left in ("abc", "ab", "a"):
                await rig.connections.ask("XDEL", KEYS.log(request_id), str(watched.tape.last))
                await hub.catch_up(watched)
                assert text(watched) == left
            assert not watched.is_gone
            await rig.connections.ask("XDEL", KEYS.log(request_id), str(watched.tape.last))
            await hub.catch_up(watched)
            assert watched.is_gone


async def test_a_log_without_the_last_known_entry_starts_over(rig: Rig, hub: Hub) -> None:
    request_id = await rig.begin()
    await rig.type("a", "b", "c")
    async with hub.watch(request_id) as watched:
        last = str(watched.tape.last)
        await rig.connections.ask("XDEL", KEYS.log(request_id), last)
        await hub.catch_up(watched)
        assert text(watched) == "ab"
        assert watched.epoch == 1


async def test_finished_logs_are_evicted_least_recently_used_first(rig: Rig, hub: Hub) -> None:
    first, second = await finished(rig, "a"), await finished(rig, "b")
    tapes = {}
    for request_id in (first, second, first):
        async with hub.watch(request_id) as tapes[request_id]:
            pass
    size = tapes[first].tape.size_bytes + tapes[second].tape.size_bytes
    hub._finished._max_bytes = size
    third = await finished(rig, "c")
    for request_id, is_kept in ((third, False), (first, True), (second, False)):
        async with hub.watch(request_id) as watched:
            assert (watched is tapes.get(request_id)) is is_kept
            assert watched.tape.is_over


async def test_every_rendering_of_a_finished_log_counts_against_the_cache(
    rig: Rig, hub: Hub
) -> None:
    logs = [await finished(rig, "a" * 1000) for _ in range(3)]
    async with hub.watch(logs[0]) as watched:
        hub._finished._max_bytes = 3 * watched.tape.size_bytes
    for request_id in logs:
        async with hub.watch(request_id) as watched:
            for name in range(3):
                await hub.rendering(watched, name, TextWire)
            assert hub._finished._bytes <= hub._finished._max_bytes
    assert len(hub._finished._kept) < 3
    sizes = [kept.tape.size_bytes for kept in hub._finished._kept.values()]
    assert hub._finished._bytes == sum(sizes)


async def test_a_log_larger_than_the_cache_evicts_no_other_one(rig: Rig, hub: Hub) -> None:
    small, large = await finished(rig, "a"), await finished(rig, "a" * 10_000)
    async with hub.watch(small) as kept:
        hub._finished._max_bytes = 2 * kept.tape.size_bytes
    async with hub.watch(large):
        pass
    assert hub._finished.get(large) is None
    assert hub._finished.get(small) is kept


async def test_readers_of_many_large_logs_do_not_fill_the_memory(rig: Rig) -> None:
    large = [await finished(rig, "a" * 2_000_000) for _ in range(3)]
    small = await finished(rig, "a")
    limits = {"finished_cache_bytes": 0, "large_logs_bytes": 5_000_000, "linger_s": 0}
    async with running_hub(rig, **limits) as hub:

        async def can_be_read(request_id: str) -> bool:
            with contextlib.suppress(TooManyLargeLogs):
                async with hub.watch(request_id):
                    return True
            return False

        async with hub.watch(large[0]), hub.watch(large[1]):
            assert not await can_be_read(large[2])
            assert await can_be_read(small)
        await wait_until(lambda: can_be_read(large[2]), description="another one is let go")


async def test_a_finished_log_that_was_erased_is_dropped_from_the_cache(rig: Rig, hub: Hub) -> None:
    request_id = await finished(rig, "a")
    async with hub.watch(request_id) as watched:
        assert watched.tape.is_over
        await rig.connections.ask("DEL", KEYS.log(request_id))
        await hub.catch_up(watched)
        assert watched.is_gone
    async with hub.watch(request_id) as again:
        assert again is not watched
        assert again.is_gone


async def test_a_push_on_another_channel_wakes_its_listeners_until_they_stop(
    rig: Rig, hub: Hub
) -> None:
    channel, woken = KEYS.conversation_channel(0, "c"), {"one": 0, "two": 0}

    def wake(name: str) -> None:
        woken[name] += 1

    with hub.listen(channel, lambda: wake("one")):
        with hub.listen(channel, lambda: wake("two")):
            await wait_until(lambda: all(woken.values()), description="both may have missed some")
            before = dict(woken)
            await rig.connections.ask("SPUBLISH", channel, "new")
            await wait_until(
                lambda: all(woken[name] > before[name] for name in woken), description="both hear"
            )
        before = dict(woken)
        await rig.connections.ask("SPUBLISH", channel, "newer")
        await wait_until(lambda: woken["one"] > before["one"], description="one still hears")
        assert woken["two"] == before["two"]


async def test_logs_are_polled_while_pushes_are_down(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_up(_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr("tickertape.broker.push.Push.run", never_up)
    hub = Hub(rig.connections, Settings(heartbeat_s=QUIET_S), HubLimits(tick_s=0.02))
    running = asyncio.create_task(hub.run(), name="hub")
    request_id = await rig.begin()
    await rig.type("a")
    async with hub.watch(request_id) as watched:
        assert not hub.is_up
        assert text(watched) == "a"
        await rig.type("b")
        await has(watched, "ab")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_log_that_cannot_be_read_in_time_is_unavailable_and_released(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_hub(
        rig, tick_s=QUIET_S, sync_timeout_s=0.2, heal_pause_s=0.01, linger_s=0.01
    ) as hub:
        request_id = await rig.begin()
        with monkeypatch.context() as away:

            async def refuse(*_: object) -> list[object]:
                raise Unavailable

            away.setattr("tickertape.broker.log.Logs.read_page", refuse)
            with pytest.raises(Unavailable):
                await hub.acquire(request_id)
            await wait_until(lambda: not hub._watched, description="it is let go")
        async with hub.watch(request_id) as watched:
            with monkeypatch.context() as away:
                away.setattr("tickertape.broker.log.Logs.read_page", refuse)
                with pytest.raises(Unavailable):
                    await hub.catch_up(watched)
            with lost_pushes(hub):
                await rig.type("a")
            await has(watched, "a")


async def test_a_failed_tail_query_is_repeated(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_hub(rig, heartbeat_s=0.1, tick_s=0.02) as hub:
        request_id = await rig.begin()
        async with hub.watch(request_id) as watched:
            tails = hub._logs.tails
            refused: list[list[str]] = []

            async def flaky(ids: list[str]) -> object:
                if not refused:
                    refused.append(ids)
                    raise Unavailable
                return await tails(ids)

            monkeypatch.setattr(hub._logs, "tails", flaky)
            with lost_pushes(hub):
                await rig.type("a")
                await has(watched, "a")
            assert refused == [[request_id]]
