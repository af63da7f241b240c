"""After a DELETE, what was said is in no process, in no key and in no file of Redis."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from tests.broker.snapshot import take_snapshot
from tests.support.accounts import limited_account
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import answer
from tests.support.servers import ValkeyServer, valkey_server
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.dead import DeadRequests
from tickertape.broker.erasures import Erasures
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import WorkerTiming

ASKED = "the-marker-of-the-question"
ANSWERED = "the-marker-of-the-answer"
QUICK = WorkerTiming(erasure_look_s=0.05)
# Compressed texts would hide from a search in the file.
PLAIN_FILES = {"rdbcompression": "no"}


@dataclass(frozen=True)
class Stage:
    """Two API processes and a worker on a server that writes an append-only file."""

    server: ValkeyServer
    folder: Path
    first: RunningApi
    second: RunningApi

    def in_files(self) -> bool:
        """Whether a marker is in any file of the server."""
        markers = (ASKED.encode(), ANSWERED.encode())
        return any(
            marker in data
            for path in self.folder.rglob("*")
            if path.is_file() and ".lock" not in path.name
            for data in [_content(path)]
            for marker in markers
        )

    async def in_keys(self) -> bool:
        """Whether a marker is in any key of Redis, name or value."""
        async with Redis.from_url(self.server.url) as client:
            stored = str((await take_snapshot(client)).keys)
        return ASKED in stored or ANSWERED in stored

    async def converse(self, conversation_id: str = "c") -> str:
        """A whole turn, which readers at both processes have read; returns the request id."""
        submitted = await self.first.client.post(
            "/chat",
            json={"message": ASKED, "conversation_id": conversation_id},
            headers={"Idempotency-Key": f"key-of-{conversation_id}"},
        )
        request_id: str = submitted.json()["request_id"]
        for api in (self.first, self.second):
            read = await api.client.get(f"/chat/{request_id}/stream")
            assert ANSWERED in read.text
        return request_id


def _content(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):  # replaced by a rewrite
        return path.read_bytes()
    return b""


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey_server(append_only=True, parent=tmp_path, settings=PLAIN_FILES) as server:
        yield server


@pytest.fixture
async def stage(
    own_server: ValkeyServer, upstream: ScriptedUpstream, tmp_path: Path
) -> AsyncIterator[Stage]:
    upstream.script = answer(ANSWERED)
    settings = Settings.model_validate(
        {"openai_base_url": upstream.base_url, "openai_model": "m", "rewrite_aof_s": 0.2}
    )
    url = own_server.url
    async with (
        running_api(url) as first,
        running_api(url) as second,
        working(url, settings, timing=QUICK),
    ):
        yield Stage(own_server, tmp_path, first, second)


def dropped(api: RunningApi, request_id: str) -> bool:
    return not kept(api, request_id)


def kept(api: RunningApi, request_id: str) -> bool:
    """Whether the process keeps the tape of a log."""
    hub: Any = api.services.streams.hub
    return request_id in hub._finished._kept or request_id in hub._watched


HOW = ["the request", "the turn", "the conversation"]


async def delete(api: RunningApi, how: str, request_id: str) -> None:
    path = {
        "the request": f"/chat/{request_id}",
        "the turn": f"/conversations/c/turns/{request_id}",
        "the conversation": "/conversations/c",
    }[how]
    deleted = await api.client.delete(path)
    assert deleted.status_code in {200, 204}, deleted.text


@pytest.mark.parametrize("how", HOW)
async def test_no_process_answers_with_what_was_erased_or_keeps_it(stage: Stage, how: str) -> None:
    request_id = await stage.converse()
    assert kept(stage.second, request_id)
    await delete(stage.first, how, request_id)
    for api in (stage.first, stage.second):
        await wait_until(partial(dropped, api, request_id), description="the tape is dropped")
        for path in (
            f"/chat/{request_id}",
            f"/chat/{request_id}/stream",
            "/chat",
            "/conversations/c",
            "/conversations",
            f"/v1/responses/{request_id}",
        ):
            shown = (await api.client.get(path)).text
            assert ASKED not in shown, path
            assert ANSWERED not in shown, path


@pytest.mark.parametrize("how", HOW)
async def test_no_key_of_redis_has_what_was_erased(stage: Stage, how: str) -> None:
    request_id = await stage.converse()
    assert await stage.in_keys()
    await delete(stage.first, how, request_id)
    assert not await stage.in_keys()


@pytest.mark.parametrize("how", HOW)
async def test_no_file_of_redis_has_what_was_erased_once_it_was_rewritten(
    stage: Stage, how: str
) -> None:
    request_id = await stage.converse()
    await wait_until(stage.in_files, description="Redis writes its file")
    await delete(stage.first, how, request_id)
    await wait_until(
        lambda: not stage.in_files(), timeout_s=20, description="the file is written again"
    )
    assert not await stage.in_keys()


async def test_a_second_erasure_is_rewritten_too(stage: Stage) -> None:
    for conversation_id in ("one", "two"):
        request_id = await stage.converse(conversation_id)
        await wait_until(stage.in_files, description="Redis writes its file")
        await delete(stage.first, "the request", request_id)
        await wait_until(
            lambda: not stage.in_files(), timeout_s=20, description="the file is written again"
        )


async def test_an_erased_conversation_begins_again_without_its_memory(
    stage: Stage, upstream: ScriptedUpstream
) -> None:
    await delete(stage.first, "the turn", await stage.converse())
    await stage.second.client.post("/chat", json={"message": "and?", "conversation_id": "c"})
    await wait_until(lambda: len(upstream.calls) == 2, description="the upstream is called")
    assert ASKED not in str(upstream.calls[-1].body)
    assert ANSWERED not in str(upstream.calls[-1].body)


async def test_a_dead_request_that_was_erased_leaves_the_list_of_the_dead(redis_url: str) -> None:
    settings = Settings(max_crashes=1, openai_model="m", lease_s=0.5)
    async with open_rig(redis_url, settings) as rig:
        request_id = await rig.ask(ASKED)
        await rig.claim()
        dead = DeadRequests(rig.connections, settings)

        async def is_dead() -> bool:
            await rig.queue.claim(0, "reaper")
            return bool(await dead.listed())

        await wait_until(is_dead, description="the request is dead")
        await rig.requests.erase(request_id, "public")
        assert await dead.listed() == []
        async with Redis.from_url(redis_url) as client:
            assert ASKED not in str((await take_snapshot(client)).keys)


async def test_a_missing_right_to_rewrite_is_named_and_ends_no_worker(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = Settings.model_validate(
        {"openai_base_url": upstream.base_url, "openai_model": "m", "rewrite_aof_s": 0.05}
    )
    with limited_account(redis_url, "~*", "&*", "+@all", "-bgrewriteaof", "-info") as account:
        with structlog.testing.capture_logs() as lines:
            async with (
                open_rig(redis_url) as rig,
                working(account.url, settings, timing=QUICK),
            ):
                request_id = await rig.ask()
                await rig.ended(request_id)
                await rig.requests.erase(request_id, "public")
                await wait_until(
                    lambda: any("BGREWRITEAOF" in str(line) for line in lines),
                    description="the log names the right",
                )
                assert (await rig.ended(await rig.ask())).text
        named = [line for line in lines if "BGREWRITEAOF" in str(line)]
        assert len(named) == 1


async def test_a_server_without_the_file_has_nothing_to_rewrite(redis_url: str) -> None:
    async with open_rig(redis_url) as rig:
        request_id = await rig.begin()
        await rig.finish()
        await rig.requests.erase(request_id, "public")
        erasures = Erasures(rig.connections)
        assert await erasures.pending(0) == 1
        assert await erasures.take_turn(0, 60)
        assert not await erasures.take_turn(0, 60)
        assert not await erasures.rewrite(0, 1)
        assert await erasures.pending(0) is None
