"""A worker dies before and after each mark of a function, and no side effect happens twice."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.test_crash_points import KILLED, LEASE_S, doomed, no_trace
from tests.support.paying import STEPS, TEXT, payer
from tests.support.rig import Rig, open_rig, working
from tests.support.upstream import ScriptedUpstream
from tickertape.broker.kinds import OPENERS
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fork server")]


@pytest.fixture
def settings(redis_url: str, upstream: ScriptedUpstream) -> Settings:
    return Settings(redis_url=redis_url, openai_base_url=upstream.base_url, lease_s=LEASE_S)


@pytest.fixture
async def rig(redis_url: str, settings: Settings) -> AsyncIterator[Rig]:
    async with open_rig(redis_url, settings) as running:
        yield running


# The marks are, in turn: a tool was called, so that the request may not start over, and a
# checkpoint, from which it may go on.
@pytest.mark.parametrize(
    ("fault", "status", "paid", "openers"),
    [
        # The last words may be on their way when the worker dies.
        ("before_mark:1", "completed", STEPS, {"started", "reset"}),
        ("after_mark:1", "failed", 0, None),
        ("before_mark:2", "failed", 1, None),
        ("after_mark:2", "completed", STEPS, {"resumed"}),
        ("before_mark:3", "completed", STEPS, {"resumed", "reset"}),
        ("after_mark:4", "completed", STEPS, {"resumed"}),
    ],
)
async def test_no_tool_runs_twice_wherever_the_worker_dies(
    rig: Rig,
    settings: Settings,
    tmp_path: Path,
    fault: str,
    status: str,
    paid: int,
    openers: set[str] | None,
) -> None:
    ledger = tmp_path / "ledger"
    ledger.touch()
    request_id = await rig.ask(
        params={"model": "payer"}, pool="payer", head={"metadata": {"ledger": str(ledger)}}
    )
    arguments = ["tests.support.paying"]
    async with doomed("worker", arguments, settings, tmp_path, fault) as worker:
        assert await worker.ended() == KILLED
    async with working(rig.url, settings, functions=[payer]):
        answered = await rig.ended(request_id)
    assert ledger.read_text().split() == [str(step) for step in range(paid)]
    assert answered.status == status
    later = [entry.kind for entry in await rig.entries(request_id) if entry.kind in OPENERS][1:]
    assert len(later) == (openers is not None)
    assert {*later} <= (openers or set())
    if status == "completed":
        assert "".join(answered.text) == TEXT
        assert len(answered.tool_calls) == STEPS
    else:
        assert answered.end["code"] == "interrupted"
    await no_trace(rig.url)
