"""Functions beside the upstream's models: who is listed, which requests go there, and who waits."""

from collections.abc import AsyncIterator

import pytest

import tickertape
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import Rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.edge.problems import Problem
from tickertape.api.fleet_watch import NoWorker
from tickertape.api.functions import listed_functions, pool_of
from tickertape.api.services import ApiTiming
from tickertape.broker.fleet import Fleet, Members, Seen, WorkerReport
from tickertape.broker.pools import UPSTREAM
from tickertape.broker.queue_depth import LastClaim
from tickertape.worker.assembly import WorkerTiming

SLOW_LOOKS = ApiTiming(fleet_interval_s=600)
KEY = "the-key-of-ada-0001"


def members(*reports: WorkerReport, **announced: float) -> Members:
    """`upstream` in `announced` is the pool of the upstream."""
    seen = [Seen(report, 0.5) for report in reports]
    ages = {UPSTREAM if name == "upstream" else name: age for name, age in announced.items()}
    return Members(seen, announced=ages)


def worker_of(
    *functions: str,
    upstream: bool = True,
    drains: bool = False,
    models: tuple[str, ...] | None = None,
) -> WorkerReport:
    return WorkerReport(8, 0, drains, functions=functions, serves_upstream=upstream, models=models)


def pool(model: str | None, known: Members) -> str:
    return pool_of(model, known, lambda name: name != "secret")


def test_a_model_that_workers_announce_is_a_function_and_any_other_one_is_the_upstream_s() -> None:
    both = members(worker_of("agent"), agent=1, upstream=1)
    assert [pool(model, both) for model in ("agent", "gpt", "", None)] == ["agent", "", "", ""]


def test_a_function_keeps_its_requests_after_its_last_worker_died() -> None:
    assert pool("agent", members(worker_of(), agent=3000, upstream=1)) == "agent"
    assert pool("agent", members(agent=3000)) == "agent"


def test_a_model_that_nobody_runs_is_refused_with_the_functions_that_the_caller_may_use() -> None:
    known = members(worker_of("agent", upstream=False), agent=1, secret=1, gone=900)
    with pytest.raises(Problem, match="No worker runs this model") as refused:
        pool("gpt", known)
    assert (refused.value.status_code, refused.value.param) == (404, "model")
    assert refused.value.message.endswith("in `model`: agent.")


def test_the_only_function_answers_requests_without_a_model_if_no_worker_has_an_upstream() -> None:
    alone = worker_of("agent", "secret", upstream=False)
    assert pool(None, members(alone, agent=1, secret=1)) == "agent"
    assert pool(None, members(worker_of("agent"), agent=1, upstream=1)) == UPSTREAM
    with pytest.raises(Problem, match="in `model`: agent, other"):
        pool(None, members(alone, agent=1, other=1))


def test_a_model_that_no_row_of_the_upstreams_has_is_refused_with_the_names_that_they_have() -> (
    None
):
    functions = worker_of("agent", upstream=False)
    rows = worker_of(models=("large", "secret"))
    known = members(functions, rows, worker_of(models=("small",)), agent=1, upstream=1)
    assert [pool(model, known) for model in ("large", "small", "agent", None)] == [
        UPSTREAM,
        UPSTREAM,
        "agent",
        UPSTREAM,
    ]
    with pytest.raises(Problem, match="in `model`: agent, large, small") as refused:
        pool("gpt", known)
    assert (refused.value.status_code, refused.value.code) == (404, "model_not_found")
    # A worker of an earlier release, or one whose upstream may have more, takes any model.
    assert pool("gpt", members(functions, rows, worker_of(), agent=1, upstream=1)) == UPSTREAM


@pytest.mark.parametrize(
    "known",
    [
        members(),
        members(agent=1),
        members(worker_of("agent", upstream=False), agent=1, upstream=3000),
        members(worker_of("agent", upstream=False), worker_of(drains=True), agent=1),
    ],
)
def test_a_request_waits_for_the_upstream_s_workers_while_they_restart(known: Members) -> None:
    assert pool("gpt", known) == UPSTREAM


def test_functions_are_listed_some_minutes_after_their_last_worker() -> None:
    known = members(agent=299, gone=301, upstream=1)
    assert list(listed_functions(known)) == ["agent"]


def test_a_worker_of_other_functions_is_none_for_those_that_wait() -> None:
    """It asks for work all the time, which is no sign of a worker of the function."""
    waits, alive = NoWorker(6, "agent"), members(worker_of("other", upstream=False))
    assert waits.look(members(worker_of("agent")), LastClaim(claimed_s=100, now_s=100)) is None
    assert waits.look(alive, LastClaim(claimed_s=105, now_s=105)) is None
    assert waits.look(alive, LastClaim(claimed_s=107, now_s=107)) == 100
    drains = members(worker_of("agent", drains=True))
    assert waits.look(drains, LastClaim(claimed_s=108, now_s=108)) == 100


@pytest.fixture
async def api(redis_url: str, worker: Rig) -> AsyncIterator[RunningApi]:
    """Started after a worker with a function. Its first look is the only one."""
    await Fleet(worker.connections).report("w", worker_of("agent", "team/agent:v2"))
    keys = f"ada:{KEY} models=agent+gpt"
    caller = {"Authorization": f"Bearer {KEY}"}
    async with running_api(redis_url, timing=SLOW_LOOKS, api_keys=keys, headers=caller) as running:
        yield running


async def test_a_submit_goes_to_the_workers_of_the_function_from_the_first_call_on(
    api: RunningApi, worker: Rig
) -> None:
    for model in ("agent", "gpt"):
        await api.client.post("/chat", json={"message": "hi", "model": model})
    claimed = await worker.connections.ask("LRANGE", KEYS.waiting(0, "ada", "agent"), 0, -1)
    record = await worker.requests.get(claimed[0].decode(), "ada")
    assert (record.pool, record.head["model"]) == ("agent", "agent")
    plain = await worker.connections.ask("LRANGE", KEYS.waiting(0, "ada"), 0, -1)
    assert (await worker.requests.get(plain[0].decode(), "ada")).pool == UPSTREAM


async def test_a_key_s_models_include_its_functions_and_no_others(api: RunningApi) -> None:
    listed = (await api.client.get("/v1/models")).json()["data"]
    functions = [model for model in listed if not model["id"].startswith("role:")]
    assert [model["id"] for model in functions] == ["agent"]
    assert (await api.client.get("/v1/models/agent")).json()["object"] == "model"
    assert (await api.client.get("/v1/models/team/agent:v2")).status_code == 404
    refused = await api.client.post("/chat", json={"message": "hi", "model": "team/agent:v2"})
    assert refused.status_code == 403


@tickertape.function("echo")
async def echo(request: tickertape.Request) -> AsyncIterator[str]:
    yield request.text


async def test_a_call_waits_for_the_restart_of_its_function_while_other_workers_are_alive(
    redis_url: str, upstream: ScriptedUpstream, worker: Rig
) -> None:
    settings = GivenSettings(openai_base_url=upstream.base_url, openai_model="m")
    fast = WorkerTiming(report_interval_s=0.05)
    looks = ApiTiming(fleet_interval_s=0.05)
    async with running_api(redis_url, timing=looks) as api, working(redis_url, settings):

        async def is_listed() -> bool:
            return (await api.client.get("/v1/models/echo")).status_code == 200

        async with working(redis_url, settings, timing=fast, functions=[echo]):
            await wait_until(is_listed, description="the function in the list of models")
            first = await api.submit("one", model="echo")
            assert "".join((await worker.ended(first)).text) == "one"
        second, third = await api.submit("two", model="echo"), await api.submit("three")
        assert (await worker.ended(third)).status == "completed"
        assert (await worker.requests.get(second, "public")).state == "queued"
        async with working(redis_url, settings, timing=fast, functions=[echo]):
            assert "".join((await worker.ended(second)).text) == "two"
    assert len(upstream.calls) == 1
