"""The metrics of a worker, over HTTP."""

import asyncio

from tests.api.test_fleet_metrics import DOCUMENT, NAMED, families, misdescribed
from tests.faults.ports import free_port
from tests.support.callers import Caller
from tests.support.given_settings import GivenSettings
from tests.support.rig import TENANT, open_rig, working
from tests.support.script import Finish, Status, Text, Wait
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until


async def test_a_worker_shows_what_it_runs_and_what_it_ended(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    rest, port = asyncio.Event(), free_port()
    never = asyncio.Event()
    upstream.enqueue(
        [Status(503, body="busy")],
        [Text("a hushed word"), Text("b"), Wait(rest), Finish()],
        [Text("c"), Wait(never)],
    )
    settings = GivenSettings(
        openai_base_url=upstream.base_url, openai_model="m", worker_health_port=port
    )
    async with (
        open_rig(redis_url) as rig,
        working(redis_url, settings, slots=5),
        Caller(f"http://127.0.0.1:{port}") as scraper,
    ):

        async def text() -> str:
            answer = await scraper.client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.text

        async def shows(*lines: str) -> None:
            async def does() -> bool:
                return {*lines} <= {*(await text()).splitlines()}

            await wait_until(does, timeout_s=15, description=f"the metrics show {lines}")

        request_id = await rig.ask("a hushed word")
        await shows(
            "tickertape_worker_slots 5.0",
            "tickertape_worker_running 1.0",
            "tickertape_worker_claiming 1.0",
            'tickertape_worker_retries_total{code="upstream_error"} 1.0',
            'tickertape_worker_attempts_total{opener="started"} 2.0',
            "tickertape_submit_to_claim_seconds_count 1.0",
            "tickertape_submit_to_first_token_seconds_count 1.0",
            "tickertape_worker_deltas_total 2.0",
            'tickertape_worker_ended_total{code="",state="completed"} 0.0',
        )
        rest.set()
        await rig.ended(request_id)
        await shows(
            "tickertape_worker_running 0.0",
            'tickertape_worker_ended_total{code="",state="completed"} 1.0',
            'tickertape_worker_ended_total{code="poison",state="failed"} 0.0',
            'tickertape_worker_tokens_total{type="output"} 2.0',
        )
        cancelled = await rig.ask("a hushed word")
        await rig.shows(cancelled, "c")
        await rig.requests.cancel(cancelled, TENANT)
        await shows("tickertape_worker_cancel_seconds_count 1.0")
        found = await text()
        assert "hushed" not in found
        assert request_id not in found
        of_worker = DOCUMENT.read_text("utf-8").partition("## A worker")[2].partition("\n## ")[0]
        assert {*NAMED.findall(of_worker)} == families(found)
        assert misdescribed(of_worker, found) == []
