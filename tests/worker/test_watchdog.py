import asyncio
import time

import pytest

from tickertape.worker.upstream.watchdog import Watchdog


async def test_a_wait_that_ends_in_time_returns_its_result() -> None:
    watchdog = Watchdog()

    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await watchdog.wait(work, watchdog.time() + 60) == 7
    watchdog.stop()


async def test_a_wait_that_is_overdue_raises_at_its_time() -> None:
    watchdog = Watchdog()
    started_s = time.monotonic()
    with pytest.raises(TimeoutError):
        await watchdog.wait(asyncio.Event().wait, watchdog.time() + 0.05)
    assert 0.04 < time.monotonic() - started_s < 5
    assert _this_task().cancelling() == 0


async def test_a_short_wait_after_a_long_one_has_its_own_limit() -> None:
    watchdog = Watchdog()
    await watchdog.wait(lambda: asyncio.sleep(0), watchdog.time() + 600)
    with pytest.raises(TimeoutError):
        await watchdog.wait(asyncio.Event().wait, watchdog.time() + 0.02)


async def test_a_long_wait_after_a_short_one_is_not_cut_by_the_old_limit() -> None:
    watchdog = Watchdog()
    await watchdog.wait(lambda: asyncio.sleep(0), watchdog.time() + 0.01)
    assert await watchdog.wait(lambda: asyncio.sleep(0.05, "done"), watchdog.time() + 60) == "done"
    watchdog.stop()


async def test_what_is_done_between_two_waits_is_not_timed() -> None:
    watchdog = Watchdog()
    await watchdog.wait(lambda: asyncio.sleep(0), watchdog.time() + 0.01)
    await asyncio.sleep(0.05)
    assert await watchdog.wait(lambda: asyncio.sleep(0, "done"), watchdog.time() + 60) == "done"
    watchdog.stop()


async def test_errors_of_what_is_waited_for_pass() -> None:
    watchdog = Watchdog()

    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await watchdog.wait(fail, watchdog.time() + 60)
    watchdog.stop()


async def test_a_cancellation_from_without_stays_one() -> None:
    waiting = asyncio.Event()

    async def watched() -> None:
        watchdog = Watchdog()

        async def work() -> None:
            waiting.set()
            await asyncio.Event().wait()

        try:
            await watchdog.wait(work, watchdog.time() + 60)
        finally:
            watchdog.stop()

    task = asyncio.create_task(watched())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


async def test_a_cancellation_at_the_moment_of_the_limit_is_not_lost() -> None:
    async def watched() -> None:
        watchdog = Watchdog()
        # Both cancel before the task runs again, since it keeps the loop busy past their time.
        asyncio.get_running_loop().call_at(watchdog.time() + 0.02, _this_task().cancel)
        await watchdog.wait(lambda: _busy_until(watchdog.time() + 0.04), watchdog.time() + 0.02)

    task = asyncio.create_task(watched())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelling() == 1


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _busy_until(time_s: float) -> None:
    loop = asyncio.get_running_loop()
    while loop.time() < time_s:
        pass
    await asyncio.Event().wait()


async def test_a_limit_that_is_swallowed_leaves_no_cancellation_behind() -> None:
    watchdog = Watchdog()

    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "never"

    assert await watchdog.wait(stubborn, watchdog.time() + 0.02) == "late"
    assert _this_task().cancelling() == 0


async def test_a_watchdog_needs_a_task_to_watch() -> None:
    made: asyncio.Future[Watchdog] = asyncio.get_running_loop().create_future()

    def make() -> None:
        try:
            made.set_result(Watchdog())
        except RuntimeError as error:
            made.set_exception(error)

    asyncio.get_running_loop().call_soon(make)
    with pytest.raises(RuntimeError, match="task"):
        await made
