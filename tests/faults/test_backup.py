"""Redis is restored from a backup that was taken under load, while clients hold newer cursors."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.backups import (
    APPEND_ONLY,
    SNAPSHOT,
    Backup,
    restore_of_cluster,
    restore_of_sentinels,
    take_of_cluster,
)
from tests.support.callers import Caller
from tests.support.cluster import Cluster
from tests.support.followers import following
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Finish, Role, Script, Text, Wait
from tests.support.sentinel import watched_servers
from tests.support.servers import ValkeyServer
from tests.support.sse import collect, open_stream, text_of
from tests.support.stored_keys import add_key
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.access import AccessRecords
from tickertape.broker.connections import Connections
from tickertape.broker.kinds import TERMINALS
from tickertape.runtime.settings import Settings

pytestmark = pytest.mark.slow

BACKUPS = pytest.mark.parametrize(
    "backup", [SNAPSHOT, APPEND_ONLY], ids=["snapshot", "append-only"]
)


class Story:
    """The upstream's part: the request `long` waits at a gate, all others are answered at once."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    def script(self, call: Call) -> Script:
        message = str(call.body["messages"][-1]["content"])
        if message == "long":
            return [Role(), Text("a"), Wait(self.gate), Text("b"), Text("c"), Finish()]
        return [Role(), Text("re: "), Text(message), Finish()]


@asynccontextmanager
async def system(
    url: str, upstream: ScriptedUpstream, headers: dict[str, str] | None = None
) -> AsyncIterator[RunningApi]:
    """An API, and a worker with one slot."""
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "lease_s": 1.0}
    async with (
        running_api(url, heartbeat_s=0.3, headers=headers, **given) as api,
        working(url, Settings.model_validate(given), slots=1),
    ):
        yield api


async def has_ended(api: Caller, request_id: str) -> bool:
    return bool((await api.read(request_id))["status"] in TERMINALS)


async def is_missed(api: Caller, request_id: str) -> bool:
    return (await api.client.get(f"/chat/{request_id}")).status_code == 404


async def is_open(url: str, headers: dict[str, str]) -> bool:
    """Whether there is more to read behind a cursor."""
    async with open_stream(url, headers) as stream:
        return stream.status == 200


Step = Callable[[Path], None]


@BACKUPS
@pytest.mark.parametrize("goes_on", [True, False], ids=["processes go on", "processes are new"])
async def test_after_a_restore_what_had_ended_is_read_and_what_had_not_runs_once_more(
    own_redis: ValkeyServer,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    backup: Backup,
    goes_on: bool,
) -> None:
    await restored(
        own_redis.url, upstream, tmp_path, goes_on,
        take=partial(backup.take, own_redis), restore=partial(backup.restore, own_redis),
    )  # fmt: skip


@BACKUPS
async def test_a_restore_with_sentinels_is_that_of_one_server(
    upstream: ScriptedUpstream, tmp_path: Path, backup: Backup
) -> None:
    """The backup is that of the replica, and the primary gets it."""
    with watched_servers() as watched:
        await restored(
            watched.url, upstream, tmp_path, True,
            take=lambda folder: backup.take(watched.replica, folder),
            restore=partial(restore_of_sentinels, backup, watched),
        )  # fmt: skip


@BACKUPS
async def test_a_restore_of_a_cluster_is_that_of_one_server(
    cluster: Cluster, upstream: ScriptedUpstream, tmp_path: Path, backup: Backup
) -> None:
    """Also after a fail-over, when the backup of a master is that of another node."""

    def restore(folder: Path) -> None:
        cluster.promote_replica_of(0)
        restore_of_cluster(backup, cluster, folder)

    await restored(
        cluster.url, upstream, tmp_path, True,
        take=partial(take_of_cluster, backup, cluster),
        restore=restore,
    )  # fmt: skip


async def restored(
    url: str, upstream: ScriptedUpstream, folder: Path, goes_on: bool, *, take: Step, restore: Step
) -> None:
    """Take a backup into a folder and restore it, and check what requests have become."""
    story = Story()
    upstream.script = story.script
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(system(url, upstream))
        done = await api.submit("done", conversation_id="c")
        before = await collect(api.stream_url(done))
        long = await api.submit("long")
        async with following(api.stream_url(long)) as reader:
            await reader.shows("a")
            queued = [await api.submit(f"queued {n}", idempotency_key=str(n)) for n in range(3)]
            await asyncio.to_thread(take, folder)
            # What follows is lost: two entries, four ends, and a request.
            story.gate.set()
            await reader.ends()
            assert reader.text == "abc"
        later = await api.submit("later", conversation_id="c", idempotency_key="later")
        for request_id in (*queued, later):
            await wait_until(lambda id_=request_id: has_ended(api, id_), description="the end")  # type: ignore[misc]
        calls = len(upstream.calls)

        if not goes_on:
            await stack.aclose()
        restore(folder)
        if not goes_on:
            api = await stack.enter_async_context(system(url, upstream))
        await wait_until(lambda: is_missed(api, later), timeout_s=20, description="the loss")

        # A client comes back with the cursor of the lost end, and with that of a lost word.
        # A process that goes on forgets finished logs when its connection to Redis is back.
        end = {"Last-Event-ID": str(reader.last_cursor)}
        await wait_until(
            lambda: is_open(api.stream_url(long), end), timeout_s=20, description="a new log"
        )
        for event in (reader.events[-1], reader.events[-2]):
            again = await collect(api.stream_url(long), {"Last-Event-ID": str(event.cursor)})
            assert again[0].kind == "rewind"
            assert (text_of(again), again[-1].kind) == ("abc", "completed")
        for n, request_id in enumerate(queued):
            await wait_until(lambda id_=request_id: has_ended(api, id_), description="the end")  # type: ignore[misc]
            log = await collect(api.stream_url(request_id))
            kinds = [event.kind for event in log]
            assert text_of(log) == f"re: queued {n}"
            assert [kind for kind in kinds if kind in TERMINALS] == ["completed"]
        # Each of those whose end was lost was paid for twice, and no other.
        assert len(upstream.calls) == calls + 4
        assert await collect(api.stream_url(done)) == before

        # Nothing of the lost log has its id again, but for what the backup has.
        lost = {event.cursor for event in reader.events[3:]}
        log = await collect(api.stream_url(long))
        assert not lost & {event.cursor for event in log}
        # The same keys find the same requests, and a lost request can be submitted again.
        assert await api.submit("queued 0", idempotency_key="0") == queued[0]
        assert await api.submit("later", conversation_id="c", idempotency_key="later") != later
    async with open_rig(url) as rig:
        for request_id in (done, long, *queued):
            entries = await rig.entries(request_id)
            assert [entry.kind in TERMINALS for entry in entries].count(True) == 1


@BACKUPS
async def test_a_restore_brings_back_what_was_revoked_and_erased_since_the_backup(
    own_redis: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path, backup: Backup
) -> None:
    """docs/operation.md has operators revoke and erase it again."""
    upstream.script = Story().script
    connections = Connections(own_redis.url)
    access = AccessRecords(connections)
    try:
        key = {"Authorization": f"Bearer {await add_key(access, 'ada')}"}
        async with system(own_redis.url, upstream, headers=key) as api:
            erased = await api.submit("secret")
            await wait_until(lambda: has_ended(api, erased), description="the end")
            await asyncio.to_thread(backup.take, own_redis, tmp_path)
            assert (await api.client.delete(f"/chat/{erased}")).status_code == 204
            assert await access.revoke("1")
        backup.restore(own_redis, tmp_path)
    finally:
        await connections.aclose()
    async with running_api(own_redis.url, require_keys=True, headers=key) as api:
        assert (await api.read(erased))["text"] == "re: secret"
