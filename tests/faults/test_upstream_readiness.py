"""An unusable upstream is reported at once, and not by a request a minute later."""

import httpx2
import pytest
import structlog

from tests.faults.test_liveness import probed_worker
from tests.support.running_api import running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.worker.assembly import WorkerTiming
from tickertape.worker.model_watch import ModelWatchTiming

IMPATIENT = WorkerTiming(models=ModelWatchTiming(retry_s=0.5))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "The server's key for its model provider was refused."),
        (500, "The upstream reported an error."),
        (200, "The upstream answered with JSON that is not a list of models."),
    ],
)
async def test_a_list_of_models_that_cannot_be_read_is_reported_by_both_probes(
    redis_url: str,
    upstream: ScriptedUpstream,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reason: str,
) -> None:
    timing = WorkerTiming(models=ModelWatchTiming(retry_s=0.5, first_list_s=0))
    upstream.models_status = status
    if status == 200:
        monkeypatch.setattr(upstream, "_model_list", lambda: "not a list")
    with structlog.testing.capture_logs() as logged:
        async with (
            running_api(redis_url) as api,
            probed_worker(redis_url, upstream, timing) as (probe, _),
        ):

            async def api_says(upstream_fault: str | None) -> None:
                async def does() -> bool:
                    answer = await api.client.get("/readyz")
                    assert answer.status_code == 200
                    return bool(answer.json().get("upstream") == upstream_fault)

                await wait_until(does, description="the API to report what the worker met")

            async def is_reported() -> bool:
                try:
                    status, text = await probe.get("/readyz")
                except httpx2.TransportError:
                    return False
                return status == 503 and text.startswith("cannot list models: ")

            await wait_until(is_reported, description="the worker to report it")
            await api_says(reason)
            assert (await probe.get("/healthz")) == (200, "ok")
            # The API accepts requests nevertheless; they wait for the upstream as earlier ones do.
            await api.submit()
            upstream.models_status = 200
            monkeypatch.undo()
            await probe.says("/readyz", (200, "ok"))
            await api_says(None)
    assert [line["event"] for line in logged].count("models not listed") == 1


async def test_an_upstream_without_a_list_of_models_is_ready_and_logged(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.models_status = 404
    async with (
        running_api(redis_url) as api,
        probed_worker(redis_url, upstream, IMPATIENT) as (probe, _),
    ):
        await probe.says("/readyz", (200, "ok"))

        async def is_reported() -> bool:
            answer = await api.client.get("/readyz")
            return "no list of models" in answer.json().get("upstream", "")

        await wait_until(is_reported, description="the API to report it")


@pytest.mark.slow
async def test_an_unreachable_upstream_is_reported(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    await upstream.close()
    async with probed_worker(redis_url, upstream, IMPATIENT) as (probe, _):
        reason = "cannot list models: The upstream cannot be reached."
        await probe.says("/readyz", (503, reason))
