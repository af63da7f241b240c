"""Sentinels move the primary, in order or after a crash, and nothing of Tickertape is restarted."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.followers import following
from tests.support.given_settings import GivenSettings
from tests.support.keyspace import KEYS
from tests.support.rig import TENANT, Rig, open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Text, Wait
from tests.support.sentinel import Watched, watched_servers
from tests.support.sse import collect, text_of
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker import sentinel
from tickertape.broker.conversations import Conversations
from tickertape.broker.errors import BrokerError
from tickertape.cli.checks import servers

pytestmark = pytest.mark.slow

# Sentinels take a second to notice a crash, and about a second to vote.
LONGEST_OUTAGE_S = 10.0
# Each process asks the Sentinels once a second.
NOTICED_WITHIN_S = 1.5


@pytest.fixture(scope="module")
def shared() -> Iterator[Watched]:
    with watched_servers() as running:
        yield running


@pytest.fixture
def watched(shared: Watched) -> Iterator[Watched]:
    yield shared
    for server in shared.servers.values():
        server.start_if_killed()
    shared.become_whole()


@asynccontextmanager
async def system(watched: Watched, upstream: ScriptedUpstream) -> AsyncIterator[RunningApi]:
    # The heartbeat is long, so that the tail check hides no push that is lost.
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "heartbeat_s": 60.0}
    async with (
        running_api(watched.url, **given) as api,
        working(watched.url, GivenSettings(**given)),
    ):
        yield api


@pytest.mark.parametrize(
    ("kind", "fail"),
    [("planned", Watched.fail_over), ("kill -9", lambda watched: watched.primary.kill())],
)
async def test_after_a_fail_over_readers_have_the_exact_text_and_nothing_is_restarted(
    watched: Watched,
    upstream: ScriptedUpstream,
    kind: str,
    fail: Callable[[Watched], None],
) -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    async with system(watched, upstream) as api:
        ended = await api.submit()
        answer = text_of(await collect(api.stream_url(ended)))
        # For each attempt: what the old primary took in the last second before a move is lost.
        upstream.script = [
            Role(), Text("a"), Wait(gates[0]), Text("b"), Wait(gates[1]), Finish(),
        ]  # fmt: skip
        request_id = await api.submit()
        before = watched.primary
        async with following(api.stream_url(request_id)) as reader:
            await reader.shows("a")
            watched.wait_for_copies()
            fail(watched)
            failed_at_s = time.monotonic()
            gates[0].set()

            async def is_accepted() -> bool:
                asked = await api.client.post("/chat", json={"message": "hi"})
                return asked.status_code == 202 and watched.primary is not before

            await wait_until(is_accepted, timeout_s=30, description="a submit to be accepted")
            outage_s = time.monotonic() - failed_at_s
            await wait_until(lambda: reader.text == "ab", timeout_s=15, description="the text")
            gates[1].set()
            await reader.ends()
        await wait_until(api.is_ready, description="the API to be ready again")
        kept = await api.read(ended)
        assert api.problems == []
    print(f"{kind}: accepted again after {outage_s:.2f} s")
    assert outage_s < LONGEST_OUTAGE_S
    assert reader.text == "ab"
    assert kept["text"] == answer


async def test_a_second_after_a_fail_over_nothing_is_written_to_the_old_primary(
    watched: Watched, upstream: ScriptedUpstream
) -> None:
    """Sentinels demote the old primary up to ten seconds later, and what it took is lost."""
    async with system(watched, upstream) as api:
        await api.submit()
        old = watched.primary
        watched.fail_over()
        await wait_until(
            lambda: watched.primary is not old, timeout_s=30, description="another primary"
        )
        await asyncio.sleep(NOTICED_WITHIN_S)
        for _ in range(5):
            request_id = await api.submit()
            assert watched.primary.client.exists(KEYS.request(request_id))
            assert text_of(await collect(api.stream_url(request_id))) == "Hello, world."


async def test_what_is_at_the_new_primary_is_found_by_processes_that_read_the_old_one(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sentinel, "_ASK_EVERY_S", 3600)
    async with AsyncExitStack() as stack:
        rigs = [await stack.enter_async_context(open_rig(watched.url)) for _ in _LOOKS]
        for before in rigs:
            await before.submit()
        old = watched.primary
        watched.fail_over()
        await wait_until(
            lambda: watched.primary is not old, timeout_s=30, description="another primary"
        )
        async with open_rig(watched.url) as after:
            request_id = await after.submit(conversation_id="c", question=[{"role": "user"}])
        for name, look in _LOOKS.items():
            try:
                found = await look(rigs.pop(), request_id)
            except BrokerError as error:
                pytest.fail(f"{name}: {error}")
            assert found == request_id or name != "active"


def conversations(rig: Rig) -> Conversations:
    return Conversations(rig.connections, rig.settings)


# What a caller can ask for by an id. The last ones change what the others find.
_LOOKS: dict[str, Callable[[Rig, str], Awaitable[object]]] = {
    "get": lambda rig, id_: rig.requests.get(id_, TENANT),
    "conversation": lambda rig, _: conversations(rig).outline(TENANT, "c"),
    "active": lambda rig, _: conversations(rig).active(TENANT, "c"),
    "parent": lambda rig, id_: conversations(rig).check_parent(TENANT, "c", id_),
    "rename": lambda rig, _: conversations(rig).rename(TENANT, "c", "title"),
    "retain": lambda rig, _: conversations(rig).retain(TENANT, "c", 60),
    "cancel": lambda rig, id_: rig.requests.cancel(id_, TENANT),
    "forget": lambda rig, _: conversations(rig).forget(TENANT, "c"),
}


async def test_doctor_names_the_primary_and_shows_no_password(watched: Watched) -> None:
    found = await servers.redis(GivenSettings(redis_url=watched.url))
    assert f"the Sentinels name 127.0.0.1:{watched.primary.port}" in found[0].text
    assert "sesame" not in str(found)
    assert "open" not in found[0].text


async def test_doctor_says_that_the_sentinels_refuse_the_login(watched: Watched) -> None:
    (found,) = await servers.redis(GivenSettings(redis_url=watched.url.partition("?")[0]))
    assert "no Sentinel names the primary 'main': auth:AuthenticationError" in found.text
    assert "sesame" not in found.text


async def test_an_unknown_name_is_reported_and_a_dead_sentinel_is_passed_over(
    watched: Watched,
) -> None:
    url = watched.url.replace("127.0.0.1:", "127.0.0.1:1,127.0.0.1:", 1)
    (found, *_) = await servers.redis(GivenSettings(redis_url=url))
    assert "the Sentinels name" in found.text
    (found,) = await servers.redis(
        GivenSettings(redis_url=watched.url.replace("/main/", "/other/"))
    )
    assert "no Sentinel names the primary 'other'" in found.text
