"""What is refused before any route is counted, so that an operator sees a flood."""

import contextlib
import inspect

from tests.api.test_operations import metric
from tests.support.raw import exchange, raw_connection
from tests.support.running_api import RunningApi, running_api
from tickertape.api.edge import bound_problems
from tickertape.api.edge.problems import Problem
from tickertape.api.serving.doorway import REASONS

_FLOODS = {
    "invalid_request": b"garbage\r\n\r\n",
    "headers_too_large": b"GET /roles HTTP/1.1\r\nX-Long: " + b"x" * 100_000,
    "target_too_long": b"GET /" + b"a" * 100_000,
    "head_timeout": b"GET / HTTP/1.1\r\nX-",
}


async def counted(api: RunningApi, reason: str) -> float:
    return await metric(api, f'tickertape_edge_refusals_total{{reason="{reason}"}}')


async def test_floods_that_reach_no_route_are_counted_by_reason(redis_url: str) -> None:
    async with running_api(
        redis_url, head_s=0.3, address_connections=5, trusted_proxies="192.0.2.1"
    ) as api:
        assert {await counted(api, reason) for reason in REASONS} == {0}
        for reason, sent in _FLOODS.items():
            await exchange(api.url, sent)
            assert await counted(api, reason) == 1
        async with contextlib.AsyncExitStack() as opened:
            for _ in range(4):
                await opened.enter_async_context(raw_connection(api.url))
            await exchange(api.url, b"")
            assert await counted(api, "too_many_connections") == 1


def test_every_refusal_of_the_edge_has_a_series_from_the_start() -> None:
    makers = [
        each
        for _, each in inspect.getmembers(bound_problems, inspect.isfunction)
        if each.__module__ == bound_problems.__name__
    ]
    problems = [make(*[1] * len(inspect.signature(make).parameters)) for make in makers]
    assert all(isinstance(problem, Problem) for problem in problems)
    assert {problem.code for problem in problems} <= {*REASONS}
