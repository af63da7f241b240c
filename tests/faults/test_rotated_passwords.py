"""The password of Redis is replaced while answers are written and read."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from structlog.testing import capture_logs

from tests.support.cluster import Cluster
from tests.support.followers import Follower, following
from tests.support.given_settings import GivenSettings
from tests.support.rig import working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Text, Wait
from tests.support.sentinel import Watched, watched_servers
from tests.support.servers import ValkeyServer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.broker.connections import Connections
from tickertape.broker.errors import AccessDenied, SettingsInvalid
from tickertape.runtime.secret_files import SecretFile
from tickertape.worker.assembly import WorkerTiming

NEW = "open-sesame"
LOOK_S = 0.02


@asynccontextmanager
async def system(url: str, path: Path, upstream: ScriptedUpstream) -> AsyncIterator[RunningApi]:
    """An API and a worker whose address of Redis is in a file."""
    path.write_text(f"{url}\n", "utf-8")
    files = {"REDIS_URL": SecretFile(path, url)}
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "openai_model": "m"}
    async with (
        running_api(url, files=files, timing=ApiTiming(secret_look_s=LOOK_S), **given) as api,
        working(
            url,
            GivenSettings(**given).read_from(files),
            timing=WorkerTiming(secret_look_s=LOOK_S),
        ),
    ):
        yield api


async def replace(path: Path, url: str) -> None:
    """Write another address into the file, and wait until the API and the worker use it."""
    with capture_logs() as logged:
        path.write_text(f"{url}\n", "utf-8")
        await wait_until(
            lambda: [line["event"] for line in logged].count("a secret was replaced") == 2,
            description="two processes use the new address",
        )
    assert NEW not in str(logged)


def steps_of(reader: Follower) -> list[str]:
    """The kinds of events. A claim may take so long that the reader gets a place in the queue."""
    return [kind for kind in reader.kinds if kind != "position"]


async def go_on_in_mid_answer(
    api: RunningApi, upstream: ScriptedUpstream, path: Path, url: str, servers: list[redis.Redis]
) -> None:
    """Replace the password in three steps while an answer is read.

    Both passwords are valid at first; then the old one ends, and every connection is cut.
    """
    gates = [asyncio.Event(), asyncio.Event()]
    upstream.script = [
        Role(), Text("a"), Wait(gates[0]), Text("b"), Wait(gates[1]), Text("c"), Finish(),
    ]  # fmt: skip
    request_id = await api.submit()
    async with following(api.stream_url(request_id)) as reader:
        await reader.shows("a")
        for server in servers:
            server.acl_setuser("default", enabled=True, passwords=[f"+{NEW}"])
        old = re.search(r":([^:@]*)@", url)
        assert old is not None
        await replace(path, url.replace(old[0], f":{NEW}@"))
        gates[0].set()
        await reader.shows("ab")
        for server in servers:
            server.acl_setuser("default", enabled=True, passwords=[f"-{old[1]}"])
            server.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")  # type: ignore[no-untyped-call]  # bare in redis-py
            server.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")  # type: ignore[no-untyped-call]  # bare in redis-py
        gates[1].set()
        await reader.ends()
        assert (reader.text, steps_of(reader)) == ("abc", ["queued", "started", "completed"])
    assert len(upstream.calls) == 1


async def test_the_password_of_one_server_is_replaced_in_mid_answer(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with redis.Redis.from_url(own_redis.url) as admin:
        async with system(own_redis.url, tmp_path / "url", upstream) as api:
            await go_on_in_mid_answer(api, upstream, tmp_path / "url", own_redis.url, [admin])


async def test_an_account_is_replaced_by_another_one_and_deleted_in_mid_answer(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    """Redis cuts the connections of an account that is deleted."""
    port, gate = urlsplit(own_redis.url).port, asyncio.Event()
    upstream.script = [Role(), Text("a"), Wait(gate), Text("b"), Finish()]
    with redis.Redis.from_url(own_redis.url) as admin:
        for name in ("spring", "summer"):
            admin.acl_setuser(
                name, enabled=True, passwords=[f"+{NEW}"], keys=["*"], channels=["*"],
                commands=["+@all"],
            )  # fmt: skip
        urls = [f"redis://{name}:{NEW}@127.0.0.1:{port}/0" for name in ("spring", "summer")]
        async with system(urls[0], tmp_path / "url", upstream) as api:
            request_id = await api.submit()
            async with following(api.stream_url(request_id)) as reader:
                await reader.shows("a")
                await replace(tmp_path / "url", urls[1])
                admin.acl_deluser("spring")
                gate.set()
                await reader.ends()
                assert (reader.text, steps_of(reader)) == ("ab", ["queued", "started", "completed"])
            assert {each["user"] for each in admin.client_list()} <= {"default", "summer"}


async def test_a_password_that_redis_refuses_does_not_replace_the_one_in_use(
    redis_url: str,
) -> None:
    connections = Connections(redis_url)
    wrong = re.sub(r":[^:@]*@", f":{NEW}@", redis_url)
    try:
        with pytest.raises(AccessDenied) as caught:
            await connections.use_account(wrong)
        assert NEW not in str(caught.value)
        for other in (
            wrong.replace("127.0.0.1", "127.0.0.2"), f"{wrong}?db=1", "redis+cluster://a", "http://"
        ):  # fmt: skip
            with pytest.raises(SettingsInvalid):
                await connections.use_account(other)
        await connections.commands.connection_pool.disconnect()
        assert await connections.ask("PING")
    finally:
        await connections.aclose()


@pytest.mark.slow
async def test_the_passwords_of_servers_and_sentinels_are_replaced_in_mid_answer(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    with watched_servers() as watched:
        sentinels = [member.client for member in watched.sentinels]
        for sentinel in sentinels:
            sentinel.acl_setuser("default", enabled=True, passwords=["+open-again"])
        url = watched.url.replace("sentinel_password=open", "sentinel_password=open-again")
        async with system(watched.url, tmp_path / "url", upstream) as api:
            await replace(tmp_path / "url", url)
            for sentinel in sentinels:
                sentinel.acl_setuser("default", enabled=True, passwords=["-open"])
                sentinel.execute_command("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")  # type: ignore[no-untyped-call]  # bare in redis-py
            await let_replicas_in(watched)
            await go_on_in_mid_answer(
                api, upstream, tmp_path / "url", url, [watched.primary.client]
            )


async def let_replicas_in(watched: Watched) -> None:
    """Have the replica log in with the new password, as an operator does first."""
    watched.replica.client.config_set("masterauth", NEW)


@pytest.mark.slow
async def test_the_password_of_a_cluster_is_replaced_in_mid_answer(
    cluster: Cluster, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    nodes = [node.client for node in cluster.nodes]
    try:
        async with system(cluster.url, tmp_path / "url", upstream) as api:
            await go_on_in_mid_answer(api, upstream, tmp_path / "url", cluster.url, nodes)
    finally:
        for node in nodes:
            node.acl_setuser("default", enabled=True, reset_passwords=True, passwords=["+sesame"])
