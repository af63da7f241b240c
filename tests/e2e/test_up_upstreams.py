"""Several `up` in one folder: no question reaches an upstream that it was not asked of."""

import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.callers import Caller
from tests.support.followers import following
from tests.support.programs import Program, environment
from tests.support.prompted import Plan
from tests.support.servers import valkey_server
from tests.support.up import Up, up
from tests.support.wait import wait_until, wait_until_sync

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found through /proc"),
]


@pytest.fixture(scope="module")
def upstreams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URLs of two upstreams."""
    argv = [sys.executable, "-m", "tests.support.upstream"]
    with contextlib.ExitStack() as stack:
        urls = []
        for name in ("a", "b"):
            program = Program(name, argv, tmp_path_factory.mktemp(name), environment())
            stack.callback(program.stop)
            urls.append(wait_until_sync(program.lines, description="the upstream's address")[0])
        yield urls[0], urls[1]


async def prompts_sent_to(upstream_url: str) -> list[str]:
    """The last messages of all calls that an upstream got."""
    async with httpx2.AsyncClient() as client:
        calls = (await client.get(upstream_url.replace("/v1", "/journal"))).json()
    return [str(call["body"]["messages"][-1]["content"]) for call in calls if call.get("body")]


@contextlib.contextmanager
def started(folder: Path, name: str, upstream_url: str, **env: str) -> Iterator[Up]:
    """`up` with this upstream, ready. Its data is in `folder`, its output in a folder `name`."""
    directory = folder / name
    directory.mkdir()
    settings = {"OPENAI_BASE_URL": upstream_url, "OPENAI_MODEL": "m", "TICKERTAPE_LEASE_S": "1"}
    with up(directory, f"--data-dir={folder / 'data'}", program=None, **settings, **env) as running:
        running.wait_until_printed("Ready after")
        yield running


@contextlib.asynccontextmanager
async def asked(running: Up, plan: Plan) -> AsyncIterator[tuple[Caller, str]]:
    async with Caller(running.url) as caller:
        yield caller, await caller.submit(plan.prompt())


async def text_of(running: Up, plan: Plan) -> str:
    async with asked(running, plan) as (caller, request_id):
        async with following(caller.stream_url(request_id)) as reader:
            await reader.ends()
        return reader.text


async def test_each_upstream_answers_its_own_questions_turn_by_turn_and_at_once(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    plans = {url: [Plan(deltas=5, tag=f"{url}-{n}") for n in range(2)] for url in upstreams}
    with contextlib.ExitStack() as stack:
        runs = {
            url: stack.enter_context(started(tmp_path, name, url))
            for name, url in zip("ab", upstreams, strict=True)
        }
        for turn in range(2):
            for url, running in runs.items():
                plan = plans[url][turn]
                assert await text_of(running, plan) == plan.text()
        first, second = upstreams
        assert f"itself belongs to {first}" in runs[second].printed
        assert "itself belongs to" not in runs[first].printed
    for url in upstreams:
        sent = [prompt for prompt in await prompts_sent_to(url) if "http" in prompt]
        assert sent == [plan.prompt() for plan in plans[url]]


async def test_the_prompt_of_a_killed_up_waits_for_its_own_upstream(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    first_url, second_url = upstreams
    interrupted = Plan(deltas=40, rate_per_s=10, tag="interrupted")
    with started(tmp_path, "first", first_url) as first:
        async with (
            asked(first, interrupted) as (caller, request_id),
            following(caller.stream_url(request_id)) as reader,
        ):
            await reader.starts_with(interrupted.text()[:20])
        first.process.kill()
        first.process.wait()
    with started(tmp_path, "second", second_url) as second:
        plan = Plan(deltas=5, tag="of-the-second")
        assert await text_of(second, plan) == plan.text()
        assert interrupted.prompt() not in await prompts_sent_to(second_url)
    with started(tmp_path, "again", first_url) as again:
        async with Caller(again.url) as caller:

            async def is_over() -> bool:
                return bool((await caller.read(request_id))["status"] == "completed")

            await wait_until(is_over, timeout_s=40, description="the interrupted answer ends")
            assert (await caller.read(request_id))["text"] == interrupted.text()
    assert interrupted.prompt() not in await prompts_sent_to(second_url)


async def test_two_up_with_one_upstream_share_their_requests(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    plan = Plan(deltas=5, tag="shared")
    url = upstreams[0]
    with started(tmp_path, "first", url) as first, started(tmp_path, "second", url) as second:
        async with (
            asked(first, plan) as (_, request_id),
            Caller(second.url) as other,
            following(other.stream_url(request_id)) as reader,
        ):
            await reader.ends()
        assert reader.text == plan.text()
        assert "of another `tickertape up`" in second.printed


def test_a_redis_that_another_upstream_uses_is_refused_with_the_reason(
    tmp_path: Path, upstreams: tuple[str, str]
) -> None:
    with valkey_server() as redis:
        with started(tmp_path, "first", upstreams[0], REDIS_URL=redis.url):
            settings = {"OPENAI_BASE_URL": upstreams[1], "REDIS_URL": redis.url}
            with up(tmp_path, program=None, **settings) as refused:
                assert refused.process.wait(20) == 2
            assert f"is used with {upstreams[0]}" in refused.printed
            assert "Ready" not in refused.printed
        with up(tmp_path, "--switch-upstream", program=None, **settings) as switched:
            switched.wait_until_printed("Ready after")
            switched.process.send_signal(signal.SIGINT)
            assert switched.process.wait(20) == 0
