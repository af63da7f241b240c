"""A submit waits out a short outage of Redis, and is executed once."""

from itertools import count

import pytest
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError

from tests.support.rig import open_rig
from tickertape.broker import short_outage, submitter
from tickertape.broker.errors import QueueFull, Unavailable
from tickertape.broker.redis_errors import failures_mapped
from tickertape.broker.short_outage import ShortOutage


class Failing:
    """Fails with each of these errors once, and then answers."""

    def __init__(self, *errors: Exception) -> None:
        self.calls = 0
        self._errors = list(errors)

    async def __call__(self) -> str:
        self.calls += 1
        if self._errors:
            with failures_mapped():
                raise self._errors.pop(0)
        return "done"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_outage, "_PAUSE_S", 0.001)


async def test_a_redis_that_restarts_is_waited_for() -> None:
    call = Failing(ConnectionError(), BusyLoadingError("LOADING"))
    assert await ShortOutage().sit_out(call) == "done"
    assert call.calls == 3


@pytest.mark.parametrize("error", [OutOfMemoryError("OOM"), ReadOnlyError("READONLY"), QueueFull()])
async def test_what_does_not_pass_by_itself_is_reported_at_once(error: Exception) -> None:
    call = Failing(error)
    with pytest.raises((Unavailable, QueueFull)):
        await ShortOutage().sit_out(call)
    assert call.calls == 1


async def test_an_outage_that_lasts_is_reported() -> None:
    with pytest.raises(Unavailable):
        await ShortOutage(clock=count().__next__).sit_out(Failing(*[ConnectionError()] * 99))


async def test_in_an_outage_that_lasts_the_next_call_is_refused_at_once() -> None:
    outage = ShortOutage(clock=count().__next__)
    call = Failing(*[ConnectionError()] * 99)
    with pytest.raises(Unavailable):
        await outage.sit_out(call)
    waited = call.calls
    assert waited > 1
    with pytest.raises(Unavailable):
        await outage.sit_out(call)
    assert call.calls == waited + 1


async def test_after_an_outage_the_next_one_is_waited_for() -> None:
    outage = ShortOutage()
    for _ in range(2):
        call = Failing(ConnectionError())
        assert await outage.sit_out(call) == "done"
        assert call.calls == 2


async def test_of_a_crowd_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_outage, "MOST_WAITING", 0)
    call = Failing(ConnectionError())
    with pytest.raises(Unavailable):
        await ShortOutage().sit_out(call)
    assert call.calls == 1


async def test_a_submit_whose_answer_was_lost_is_not_accepted_twice(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_as = submitter.Submitter._submit_as
    lost: list[object] = []

    async def lose_the_first(*args: object) -> object:
        reply = await submit_as(*args)  # type: ignore[arg-type]
        if not lost:
            lost.append(reply)
            raise Unavailable
        return reply

    monkeypatch.setattr(submitter.Submitter, "_submit_as", lose_the_first)
    async with open_rig(redis_url) as rig:
        request_id = await rig.submit()
        assert await rig.connections.ask("KEYS", "*req:*") == [f"{{p0}}:req:{request_id}".encode()]
