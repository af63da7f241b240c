"""Processes of an earlier release run beside those of this tree, on the same Redis."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment, api_url
from tests.support.followers import following
from tests.support.programs import Program
from tests.support.releases import COMMITS, Release, extract_release
from tests.support.rig import open_rig
from tests.support.script import Text, Wait, answer
from tests.support.servers import valkey_server
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.codec import encode_text
from tickertape.broker.compaction import Compaction

pytestmark = pytest.mark.slow

REQUESTS = 20
WORDS = [f"{number} " for number in range(20)]
NAMES = ("tree", "release")


@dataclass(frozen=True)
class Apis:
    """A running API process of this tree and one of an earlier release, on one Redis."""

    redis_url: str
    version: str
    release_tree: Path
    urls: dict[str, str]


@pytest.fixture(scope="module", params=COMMITS)
def apis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Apis]:
    version, directory = request.param, tmp_path_factory.mktemp("release")
    release_tree = extract_release(version, directory)
    with valkey_server() as redis, contextlib.ExitStack() as stack:
        settings = {"redis_url": redis.url, "upstream_url": "http://127.0.0.1:9/v1"}
        # The requests of this tree's API have a trace, a field that the release does not know.
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
        made = {
            "tree": Deployment(directory, **settings, **traced),
            "release": Release(version, release_tree, directory, **settings),
        }
        urls = {}
        for name, deployment in made.items():
            stack.callback(deployment.close)
            program = deployment.start_api()
            program.logged_sync("ready for requests")
            urls[name] = api_url(program)
        yield Apis(redis.url, version, release_tree, urls)


@pytest.fixture
def workers(
    apis: Apis, tmp_path: Path, upstream: ScriptedUpstream
) -> Iterator[dict[str, Deployment]]:
    """Deployments in which no worker runs yet."""
    settings = {
        "redis_url": apis.redis_url,
        "upstream_url": upstream.base_url,
        "TICKERTAPE_LEASE_S": "1",
    }
    made: dict[str, Deployment] = {
        "tree": Deployment(tmp_path, **settings),
        "release": Release(apis.version, apis.release_tree, tmp_path, **settings),
    }
    yield made
    for deployment in made.values():
        deployment.close()


@pytest.fixture
async def callers(apis: Apis) -> AsyncIterator[dict[str, Caller]]:
    """A caller of each API."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(Caller(url)) for name, url in apis.urls.items()
        }


async def test_the_earlier_release_runs_its_own_code(callers: dict[str, Caller]) -> None:
    """Release 0.1.0 had no status page."""
    codes = {
        name: (await caller.client.get("/status.json")).status_code
        for name, caller in callers.items()
    }
    assert codes == {"tree": 200, "release": 404}


@pytest.mark.parametrize("worker", NAMES)
async def test_one_worker_of_either_serves_the_requests_of_both_apis(
    workers: dict[str, Deployment], callers: dict[str, Caller], worker: str
) -> None:
    await workers[worker].running_worker()
    ids = [await caller.submit() for caller in callers.values()]
    for request_id in ids:
        for caller in callers.values():
            events = await collect(caller.stream_url(request_id))
            kinds = [e.kind for e in events if e.kind not in {"delta", "position"}]
            assert kinds == ["queued", "started", "completed"]
            assert text_of(events) == "Hello, world."
            record = await caller.read(request_id)
            assert (record["status"], record["text"]) == ("completed", "Hello, world.")


async def test_all_processes_at_once_serve_each_other_s_requests(
    workers: dict[str, Deployment], callers: dict[str, Caller], upstream: ScriptedUpstream
) -> None:
    upstream.script = answer(WORDS)
    running = [await each.running_worker() for each in workers.values()]
    ids = await asyncio.gather(
        *(caller.submit() for caller in callers.values() for _ in range(REQUESTS))
    )
    read = await asyncio.gather(
        *(collect(caller.stream_url(id_)) for caller in callers.values() for id_ in ids)
    )
    assert [text_of(events) for events in read] == ["".join(WORDS)] * (4 * REQUESTS)
    assert all(served_by(worker) for worker in running)
    assert sorted(id_ for worker in running for id_ in served_by(worker)) == sorted(ids)


async def test_a_conversation_goes_on_at_either_api(
    workers: dict[str, Deployment], callers: dict[str, Caller], upstream: ScriptedUpstream
) -> None:
    for deployment in workers.values():
        await deployment.running_worker()
    order = ("release", "tree", "release", "tree")
    for name in order:
        request_id = await callers[name].submit(f"asked at {name}", conversation_id="c")
        events = await collect(callers[name].stream_url(request_id))
        assert text_of(events) == "Hello, world."
    messages = upstream.calls[-1].body["messages"]
    asked = [message["content"] for message in messages if message["role"] == "user"]
    assert asked == [f"asked at {name}" for name in order]


@pytest.mark.parametrize(("killed", "next_one"), [NAMES, NAMES[::-1]])
async def test_a_worker_of_the_one_takes_over_what_a_dead_worker_of_the_other_had_begun(
    workers: dict[str, Deployment],
    callers: dict[str, Caller],
    upstream: ScriptedUpstream,
    killed: str,
    next_one: str,
) -> None:
    upstream.enqueue([Text("half"), Wait(asyncio.Event())])
    dying = await workers[killed].running_worker()
    request_id = await callers["tree"].submit()
    async with (
        following(callers["tree"].stream_url(request_id)) as ours,
        following(callers["release"].stream_url(request_id)) as theirs,
    ):
        await ours.starts_with("half")
        await theirs.starts_with("half")
        await dying.kill()
        await workers[next_one].running_worker()
        for reader in (ours, theirs):
            await reader.ends()
            assert reader.kinds == ["queued", "started", "reset", "completed"]
            assert reader.text == "Hello, world."


@pytest.mark.parametrize("worker", NAMES)
async def test_a_request_is_cancelled_at_the_other_api(
    workers: dict[str, Deployment],
    callers: dict[str, Caller],
    upstream: ScriptedUpstream,
    worker: str,
) -> None:
    upstream.script = [Text("half"), Wait(asyncio.Event())]
    await workers[worker].running_worker()
    for submitting, cancelling in (NAMES, NAMES[::-1]):
        request_id = await callers[submitting].submit()
        async with following(callers[submitting].stream_url(request_id)) as reader:
            await reader.starts_with("half")
            assert await callers[cancelling].cancel(request_id) == "cancelled"
            await reader.ends()
            assert reader.kinds[-1] == "cancelled"
    await wait_until(
        lambda: all(call.closed.is_set() for call in upstream.calls),
        description="the upstream's connections to be closed",
    )


async def test_release_0_1_0_reads_the_answer_of_a_compacted_log(
    apis: Apis, callers: dict[str, Caller]
) -> None:
    """docs/decisions, on compaction, says what it does not read."""
    async with open_rig(apis.redis_url) as rig:
        request_id = await rig.begin()
        await rig.type(*WORDS)
        await rig.finish()
        assert await Compaction(rig.connections).compact(0, request_id) == "OK"
    for name, kinds in {"tree": ["started", *["delta"] * 20], "release": ["delta"]}.items():
        events = await collect(callers[name].stream_url(request_id))
        assert [event.kind for event in events] == ["queued", *kinds, "completed"]
        assert text_of(events) == "".join(WORDS)
        assert (await callers[name].read(request_id))["text"] == "".join(WORDS)


async def test_release_0_1_0_reads_all_of_a_compacted_log_but_does_not_stream_two_kinds(
    apis: Apis, callers: dict[str, Caller]
) -> None:
    async with open_rig(apis.redis_url) as rig:
        request_id = await rig.begin()
        await rig.append(*(encode_text("reasoning", word) for word in WORDS))
        await rig.type(*WORDS)
        await rig.finish()
        before = await callers["tree"].read(request_id)
        assert await Compaction(rig.connections).compact(0, request_id) == "OK"
    record = await callers["release"].read(request_id)
    assert record["text"] == record["reasoning"] == "".join(WORDS)
    assert record["cursor"] == before["cursor"]
    assert (await collect(callers["release"].stream_url(request_id)))[-1].kind == "gone"
    assert (await collect(callers["tree"].stream_url(request_id)))[-1].kind == "completed"


def served_by(worker: Program) -> list[str]:
    """The requests that a worker began."""
    return [record["request_id"] for record in worker.records("attempt begun")]
