"""The test kit, as the tests of a user's functions use it."""

import asyncio
from collections.abc import AsyncIterator

import openai
import pytest
from structlog.testing import capture_logs

import tickertape
from tickertape.testing import system

PAID: list[int] = []
waiting = asyncio.Event()


@tickertape.function("payer")
async def pay_all(
    request: tickertape.Request, context: tickertape.Context
) -> AsyncIterator[tickertape.Value]:
    """Pays in steps; the first attempt waits without end behind the second."""
    for step in range(context.state or 0, 3):
        yield f"Payment {step}. "
        yield tickertape.ToolCall("pay", {"step": step}, id=f"pay-{step}")
        PAID.append(step)
        yield tickertape.ToolResult("paid", id=f"pay-{step}")
        await context.checkpoint(step + 1)
        if step == 1 and context.attempt == 1 and request.text == "wait":
            waiting.set()
            await asyncio.Event().wait()


@tickertape.function("broken")
async def broken(_: tickertape.Request) -> AsyncIterator[str]:
    yield "half"
    raise KeyError("order")


async def test_a_function_is_asked_and_loses_its_worker_in_the_middle_of_an_answer(
    redis_url: str,
) -> None:
    PAID.clear()
    waiting.clear()
    with capture_logs():
        async with system(pay_all, redis_url=redis_url) as running:
            assert (await running.ask("go")).finish_reason == "stop"
            answer = await running.submit("wait")
            await running.shows(answer, "Payment 1. ")
            await waiting.wait()
            await running.kill_worker()
            whole = await running.whole(answer)
            results = (await answer.get()).tool_results
    assert whole.text == "Payment 0. Payment 1. Payment 2. "
    assert PAID == [0, 1, 2, 0, 1, 2]
    assert [result["id"] for result in results or ()] == ["pay-0", "pay-1", "pay-2"]


async def test_a_failed_answer_comes_from_the_error_of_the_function(redis_url: str) -> None:
    with capture_logs():
        async with system(pay_all, broken, redis_url=redis_url) as running:
            with pytest.raises(tickertape.TickertapeError, match="KeyError") as failed:
                await running.ask("go", model="broken")
            with pytest.raises(
                tickertape.TickertapeError, match="these functions in `model`: broken, payer"
            ):
                await running.ask("go", model="gpt-5")
            answer = await running.submit("go", model="payer")
            with pytest.raises(AssertionError, match="without 'Payment 9'"):
                await running.shows(answer, "Payment 9")
            client = openai.AsyncOpenAI(base_url=f"{running.url}/v1", api_key="none")
            async with client:
                names = [model.id async for model in client.models.list()]
    assert isinstance(failed.value.__cause__, KeyError)
    assert {"broken", "payer"} <= set(names)


async def test_a_system_starts_a_server_of_its_own_for_all_tests_of_the_process() -> None:
    with capture_logs():
        async with system(pay_all) as first, system(broken) as second:
            assert first.url != second.url
            assert (await first.ask("go")).text == "Payment 0. Payment 1. Payment 2. "
            with pytest.raises(tickertape.TickertapeError):
                await second.ask("go")
