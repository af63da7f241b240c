"""The lines of the log for the steps of a request: whose, how long, and never what."""

import logging
from typing import Any

import pytest
import structlog

from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import answer
from tests.support.sse import collect
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

SECRET = "a very secret prompt"


def lines_of(logged: list[Any], request_id: str) -> list[str]:
    return [line["event"] for line in logged if line.get("request_id") == request_id]


def line(logged: list[Any], event: str) -> dict[str, Any]:
    (found,) = (line for line in logged if line["event"] == event)
    return dict(found)


async def ended(api: RunningApi, upstream: ScriptedUpstream, redis_url: str) -> str:
    """A request of a caller with an id of its own, which was followed to its end, and erased."""
    fields = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    async with working(redis_url, Settings.model_validate(fields)):
        headers = {"X-Request-Id": "call-7"}
        submitted = await api.client.post("/chat", json={"message": SECRET}, headers=headers)
        request_id: str = submitted.json()["request_id"]
        await collect(api.stream_url(request_id))
    await api.client.delete(f"/chat/{request_id}")
    return request_id


async def test_each_step_of_a_request_is_a_line_with_its_id_and_none_has_content(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    upstream.script = answer(["my secret ", "answer"])
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url) as api:
            request_id = await ended(api, upstream, redis_url)
            await wait_until(
                lambda: "stream closed" in lines_of(logged, request_id), description="the close"
            )
    steps = {"submitted", "stream opened", "attempt begun", "first token", "request ended"}
    assert {*lines_of(logged, request_id)} == steps | {"stream closed", "cancelled", "erased"}
    submitted = line(logged, "submitted")
    assert (submitted["caller_request_id"], submitted["tenant"]) == ("call-7", "public")
    assert (submitted["wire"], submitted["ms"] >= 0) == ("native", True)
    over = line(logged, "request ended")
    assert (over["state"], over["tenant"], over["deltas"]) == ("completed", "public", 2)
    assert 0 <= line(logged, "first token")["ms"] <= over["total_ms"]
    assert line(logged, "cancelled")["status"] == "completed", "it had ended before"
    assert "secret" not in str(logged)


async def test_a_refused_submit_is_a_line_with_the_code_alone(redis_url: str) -> None:
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url, tenant_limit=1) as api:
            await api.submit()
            refused = await api.client.post("/chat", json={"message": SECRET})
    assert refused.status_code == 429
    assert line(logged, "submit refused")["code"] == "TenantLimitReached"
    assert "secret" not in str(logged)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [("call-7", "call-7"), ("x" * 129, None), ("two words", None), ("caf\u00e9", None)],
)
async def test_a_callers_id_is_logged_only_if_it_is_a_short_word(
    api: RunningApi, sent: str, shown: str | None
) -> None:
    headers = {b"X-Client-Request-Id": sent.encode()}
    with structlog.testing.capture_logs() as logged:
        await api.client.post("/chat", json={"message": "hi"}, headers=headers)
        await api.client.post("/chat", json={"message": "hi"})
    first, second = (each for each in logged if each["event"] == "submitted")
    assert first.get("caller_request_id") == shown
    assert "caller_request_id" not in second, "of the call before on this connection"


async def test_above_the_level_debug_a_stream_leaves_no_line_and_costs_its_reader_no_memory(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    before = structlog.get_config()
    with structlog.testing.capture_logs() as logged:
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            cache_logger_on_first_use=False,
        )
        try:
            async with running_api(redis_url) as api:
                request_id = await ended(api, upstream, redis_url)
        finally:
            structlog.configure(wrapper_class=before["wrapper_class"])
    assert not [event for event in lines_of(logged, request_id) if event.startswith("stream")]
    assert "submitted" in lines_of(logged, request_id)
