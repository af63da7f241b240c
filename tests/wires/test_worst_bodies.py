"""Bodies that are bad for their size: no other tenant waits for them, and they take little memory.

`python -m bench.worst_bodies` prints the figures.
"""

import asyncio
import json

import pytest

from tests.support.loop_turns import watched_turns
from tests.support.posting import AT_ONCE, cost_of
from tests.support.running_api import RunningApi, running_api
from tests.support.worst_bodies import HI, PATHS, worst_bodies
from tickertape.api.edge.problems import Problem
from tickertape.api.heavy_work import CallTurns, HeavyWork
from tickertape.runtime.garbage import tune_garbage_collector

# On a machine with nothing else to do, the longest turn is below 50 ms.
MOST_MS = 300
MOST_MIB = 150


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS)
async def test_no_body_stops_the_event_loop_or_takes_much_memory(redis_url: str, path: str) -> None:
    tune_garbage_collector()
    async with running_api(redis_url, timing=AT_ONCE) as api:
        for small in worst_bodies(path, many=100):
            await cost_of(api, small)
        for body in worst_bodies(path):
            # Other programs on the machine make a turn longer, and none shorter.
            costs = [await cost_of(api, body)]
            while costs[-1].turn_ms >= MOST_MS and len(costs) < 4:
                costs.append(await cost_of(api, body))
            cost = costs[-1]
            assert cost.turn_ms < MOST_MS, body.name
            assert cost.grown_mib < MOST_MIB, body.name
            assert cost.status in {200, 202, 400}, body.name


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [HI, *[0] * 2000]}, "messages[1]"),
        ({"messages": [{"role": "user", "content": [0] * 2000}]}, "messages[0].content[0]"),
        ({"message": "hi", **{f"k{n}": 0 for n in range(2000)}}, "k0"),
        ({"message": "hi", "variables": {f"k{n}": 0 for n in range(2000)}}, "variables"),
        ({"message": "hi", "metadata": {f"k{n}": 0 for n in range(2000)}}, "metadata"),
    ],
)
async def test_of_many_faults_the_first_one_is_named(
    api: RunningApi, body: object, param: str
) -> None:
    answer = await api.client.post("/chat", json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_a_message_with_more_fields_than_a_model_has_parameters_is_refused(
    api: RunningApi,
) -> None:
    for body in ({"messages": [HI | FIELDS]}, {"messages": [HI]} | FIELDS):
        answer = await api.client.post("/v1/chat/completions", json=body)
        assert answer.status_code == 400
        assert "at most 1000 items" in answer.json()["error"]["message"]


FIELDS = {f"k{n}": 0 for n in range(1001)}


@pytest.mark.parametrize("size", [10, 100_000])
async def test_a_large_body_that_is_not_json_is_refused_as_a_small_one(
    api: RunningApi, size: int
) -> None:
    content = json.dumps({"message": "x" * size}).encode() + b"}"
    answer = await api.client.post(
        "/chat", content=content, headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")


async def test_heavy_work_leaves_the_event_loop_its_turns() -> None:
    heavy = HeavyWork()
    async with watched_turns() as turns:
        await heavy.run("t", lambda: sum(n * n for n in range(2_000_000)))
    assert turns.longest_ms < 100
    heavy.close()


async def test_a_tenant_with_many_calls_does_not_delay_the_only_call_of_another() -> None:
    turns, order = CallTurns(1, 1), list[str]()

    async def call(tenant: str) -> None:
        async with turns.turn(tenant):
            order.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*map(call, ["flood"] * 50), call("calm"))
    assert order.index("calm") <= 2
    assert len(order) == 51


async def test_a_tenant_with_many_made_up_users_has_the_turns_of_one_tenant() -> None:
    heavy, order = HeavyWork(), list[str]()

    async def call(principal: str) -> None:
        await heavy.run(principal, lambda: order.append(principal))

    await asyncio.gather(*(call(f"flood~{user}") for user in range(20)), call("calm"))
    assert order.index("calm") <= 2
    heavy.close()


async def test_a_tenant_has_at_most_its_share_of_the_turns() -> None:
    turns, open_now, most = CallTurns(4, 2), 0, 0

    async def call() -> None:
        nonlocal open_now, most
        async with turns.turn("t"):
            open_now += 1
            most = max(most, open_now)
            await asyncio.sleep(0)
            open_now -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    assert most == 2


async def test_a_call_that_is_cancelled_gives_its_turn_to_the_next_one() -> None:
    turns = CallTurns(1, 1)

    async def hold() -> None:
        async with turns.turn("t"):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks[:2]:
        task.cancel()
    await asyncio.gather(*tasks[:2], return_exceptions=True)
    tasks[2].cancel()
    await asyncio.gather(tasks[2], return_exceptions=True)
    async with asyncio.timeout(1), turns.turn("other"):
        pass


async def test_a_tenant_cannot_hold_the_memory_of_thousands_of_waiting_bodies() -> None:
    turns, others = CallTurns(1, 1, most_waiting=3), []

    async def call(tenant: str) -> str:
        async with turns.turn(tenant):
            await asyncio.sleep(0)
        return tenant

    async with turns.turn("held"):
        calls = [asyncio.create_task(call("flood")) for _ in range(1000)]
        others = [asyncio.create_task(call("other")) for _ in range(3)]
        refused = [task for task in calls if (await settled(task)) is not None]
    assert len(refused) == 997
    problem = await settled(refused[0])
    assert isinstance(problem, Problem)
    assert problem.status_code == 429
    assert "heavy_calls" in problem.message
    assert 1 <= int((problem.headers or {})["Retry-After"]) <= 60
    assert await asyncio.gather(*others) == ["other"] * 3
    assert await asyncio.gather(*(set(calls) - set(refused))) == ["flood"] * 3


async def settled(task: asyncio.Task[str]) -> BaseException | None:
    """The error of a call that was refused; None for one that waits."""
    await asyncio.wait([task], timeout=0)
    return task.exception() if task.done() else None
