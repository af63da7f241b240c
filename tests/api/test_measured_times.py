"""What the metrics of an API say of delays, of streams that were cut, of cancels and of memory."""

import asyncio
import time

from prometheus_client import generate_latest

from tests.api.test_operations import metric
from tests.support.followers import following
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.stage import Stage
from tests.support.wait import wait_until
from tickertape.api.fanout.finished_logs import FinishedLogs
from tickertape.api.fanout.held_bytes import HeldBytes
from tickertape.api.fanout.slice import SLICE_CONNECTIONS
from tickertape.api.metrics import Metrics
from tickertape.runtime.histogram import Histogram
from tickertape.runtime.loop_watch import LoopWatch
from tickertape.runtime.metric_sums import summed

DELAYS = "tickertape_token_to_reader_seconds_count"
KEYS = "ann:the-key-of-ann-1234"


def test_a_bucket_has_all_values_up_to_its_bound() -> None:
    waits = Histogram("wait_seconds", "Wait", (0.5, 1))
    for value in (-1, 0.5, 0.6, 7):
        waits.observe(value)
    (family,) = waits.collect()
    samples = {(each.name, each.labels.get("le")): each.value for each in family.samples}
    assert samples == {
        ("wait_seconds_bucket", "0.5"): 2,
        ("wait_seconds_bucket", "1.0"): 3,
        ("wait_seconds_bucket", "+Inf"): 4,
        ("wait_seconds_count", None): 4,
        ("wait_seconds_sum", None): 8.1,
    }


def test_the_histograms_of_two_processes_are_added_bucket_by_bucket() -> None:
    one, other = Metrics(), Metrics()
    one.count_cancelled(0.2)
    other.count_cancelled(0.02)
    other.count_cancelled(400)
    text = summed([generate_latest(each._registry) for each in (one, other)]).decode()
    found = [line for line in text.splitlines() if line.startswith("tickertape_cancel_seconds")]
    assert 'tickertape_cancel_seconds_bucket{le="0.01"} 0.0' in found
    assert 'tickertape_cancel_seconds_bucket{le="0.025"} 1.0' in found
    assert 'tickertape_cancel_seconds_bucket{le="0.25"} 2.0' in found
    assert 'tickertape_cancel_seconds_bucket{le="300.0"} 2.0' in found
    assert 'tickertape_cancel_seconds_bucket{le="+Inf"} 3.0' in found
    assert "tickertape_cancel_seconds_count 3.0" in found


async def test_an_entry_that_is_timed_counts_once_for_each_group_of_readers() -> None:
    stage = Stage()
    counts = stage.hub.counts
    sockets = [stage.join() for _ in range(2 * SLICE_CONNECTIONS)]
    counts.sample_from_s = float("-inf")
    stage.type("a")
    assert counts.delays.count == 1
    # The second group has its turn in the next one of the loop, and the sample ends there.
    await wait_until(lambda: counts.delays.count == 2, description="the second group's turn")
    counts.sample_from_s = float("inf")
    stage.type("b")
    await wait_until(
        lambda: all(b'"b"' in each.sent for each in sockets), description="all to read"
    )
    assert counts.delays.count == 2


async def test_a_log_that_is_replaced_while_an_entry_is_timed_is_not_timed_on() -> None:
    stage = Stage(interval_s=60)
    for _ in range(SLICE_CONNECTIONS * 4):
        stage.join()
    counts = stage.hub.counts
    stage.type("a")
    counts.sample_from_s = float("-inf")
    stage.type("b")
    stage.watched.tape.clear()
    stage.watched.epoch += 1
    stage.audience._turn()
    assert counts.delays.count <= 1
    assert stage.audience._sample is None


async def test_a_delay_to_a_reader_and_a_cancel_are_in_the_metrics(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin()
    async with following(f"{api.url}/chat/{request_id}/stream") as reader:
        await reader.receives("started")
        await worker.type("a")
        await reader.starts_with("a")
        assert await metric(api, DELAYS) >= 1
        assert await metric(api, 'tickertape_log_bytes{state="live"}') > 0
        for _ in range(2):
            await api.client.post(f"/chat/{request_id}/cancel")
        await reader.receives("cancelled")
    assert await metric(api, "tickertape_cancel_seconds_count") == 1
    assert await metric(api, 'tickertape_heals_total{cause="opened"}') == 1
    assert await metric(api, 'tickertape_log_bytes{state="finished"}') > 0


async def test_calls_without_a_valid_key_are_counted_by_what_they_showed(redis_url: str) -> None:
    async with running_api(redis_url, api_keys=KEYS) as api:
        for header in ("", "Bearer wrong-key-1234567890", "Ticket x"):
            headers = {"Authorization": header} if header else {}
            answer = await api.client.get("/chat", headers=headers)
            assert answer.status_code == 401
        text = (
            await api.client.get("/metrics", headers={"Authorization": f"Bearer {KEYS[4:]}"})
        ).text
    for reason, count in {
        "no_key": 1,
        "invalid_api_key": 1,
        "invalid_ticket": 1,
        "other": 0,
    }.items():
        assert f'tickertape_authentication_failures_total{{reason="{reason}"}} {count}.0' in text
    assert "wrong-key" not in text


async def test_streams_that_are_broken_off_are_counted_by_the_reason() -> None:
    stage = Stage()
    dropped = stage.hub.counts.dropped
    stalled, revoked, full = (stage.join(fills_up=n == 0) for n in range(3))
    stage.type("a")
    for _ in range(3):
        stage.audience.tick()
    assert stalled.is_aborted
    assert revoked.protocol is not None
    assert full.protocol is not None
    revoked.protocol.break_off()
    full.protocol.drop()
    assert dropped == {"stalled": 1, "revoked": 1, "unread": 1}


async def test_the_memory_of_logs_that_go_on_is_looked_up_again_after_some_seconds() -> None:
    stage, times = Stage(), iter([0.0, 4.0, 6.0])
    held = HeldBytes({"r": stage.watched}, FinishedLogs(1000), lambda: next(times))
    first = held.read()
    stage.type("x" * 1000)
    assert held.read() == first
    # The entry is held, and its frame.
    assert held.read()["live"] > first["live"] + 2000


async def test_a_long_turn_of_the_event_loop_is_in_its_histogram() -> None:
    watch = LoopWatch(interval_s=0.001)
    watching = asyncio.create_task(watch.run())
    await asyncio.sleep(0)
    time.sleep(0.02)
    while not watch.lag.count:
        await asyncio.sleep(0)
    watching.cancel()
    assert watch.lag.sum >= 0.019
