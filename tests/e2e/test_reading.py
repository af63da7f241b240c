"""Reading over real connections, from processes of their own."""

import hashlib
import math
import time
from pathlib import Path

import httpx2
import msgspec
import pytest

from tests.e2e.conftest import Figure
from tests.e2e.curl import curl
from tests.support.callers import Caller
from tests.support.followers import Follower, following
from tests.support.prompted import Plan
from tests.support.sse import text_of
from tests.support.wait import wait_until

# One that types, and one that says a word and then nothing for long.
ENDLESS = {
    "busy": Plan(deltas=100_000, rate_per_s=50),
    "silent": Plan(deltas=100_000, rate_per_s=0.01),
}
_CLOSED_WITHIN_S = 0.25
_TRIES = 3


async def test_a_late_reader_and_one_that_was_cut_end_with_the_same_text(
    ada: Caller, tmp_path: Path
) -> None:
    # Umlauts and signs outside the first plane: a text is compared as bytes.
    plan = Plan(deltas=150, rate_per_s=150, tag="größe-𝄞")
    request_id = await ada.submit(plan.prompt())
    url = ada.stream_url(request_id)

    async with following(url, ada.headers) as cut:
        await cut.starts_with(plan.text()[:200])
    last_event_id = {**ada.headers, "Last-Event-ID": cut.last_cursor}
    async with (
        curl(url, tmp_path / "late", ada.headers) as late,
        following(url, last_event_id) as resumed,
    ):
        assert await late.ended() == 0
        await resumed.ends()

    both = Follower()
    both.events = cut.events + resumed.events
    record = await ada.read(request_id)
    text = plan.text().encode()
    assert both.text.encode() == text_of(late.events()).encode() == record["text"].encode() == text
    assert both.kinds == ["queued", "started", "completed"]
    assert [event.cursor for event in both.events] == [event.cursor for event in late.events()]
    assert both.terminals[0].data["sha256"] == record["sha256"] == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("pace", ENDLESS)
async def test_a_cancel_in_mid_answer_hangs_up_on_the_upstream_at_once(
    ada: Caller, upstream_process: str, figure: Figure, pace: str
) -> None:
    took_s = math.inf
    # A machine that stalls for a moment may spoil one of them, and a slow cancel is slow each time.
    for n in range(_TRIES):
        # A separate prompt, because it tells the upstream's calls apart.
        plan = msgspec.structs.replace(ENDLESS[pace], tag=f"{pace} {n}")
        took_s = await _cancelled_in_mid_answer(ada, upstream_process, plan)
        if took_s < _CLOSED_WITHIN_S:
            break
    figure(f"upstream closed after (s, bound {_CLOSED_WITHIN_S})", round(took_s, 3))
    assert 0 <= took_s < _CLOSED_WITHIN_S


async def _cancelled_in_mid_answer(ada: Caller, upstream_process: str, plan: Plan) -> float:
    """Ask, cancel, check what is left; how many seconds after the cancel the upstream was free."""
    request_id = await ada.submit(plan.prompt())
    async with following(ada.stream_url(request_id), ada.headers) as reader:
        await reader.starts_with(plan.pieces()[0])
        cancelled_at_s = time.monotonic()
        assert await ada.cancel(request_id) == "cancelled"
        await reader.ends()
        closed_after_s = await _closed_at_s(upstream_process, plan.prompt()) - cancelled_at_s

    assert reader.kinds == ["queued", "started", "cancelled"]
    record = await ada.read(request_id)
    assert record["status"] == "cancelled"
    assert record["text"] == reader.text
    assert plan.text().startswith(reader.text)
    assert await ada.cancel(request_id) == "cancelled"
    return closed_after_s


async def _closed_at_s(upstream_url: str, prompt: str) -> float:
    """When the client of the last call with this prompt left, on the machine's monotonic clock."""
    async with httpx2.AsyncClient() as client:

        async def closed_at_s() -> float | None:
            calls = (await client.get(upstream_url.replace("/v1", "/journal"))).json()
            times = [
                call["closed_at_s"]
                for call in calls
                if call["body"]["messages"][-1]["content"] == prompt
            ]
            return times[-1] if times else None

        found = await wait_until(closed_at_s, description="the upstream's client to leave")
        assert found is not None
        return found
