"""How the worker's parts are put together: what it waits for, tells Redis, and survives."""

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.keyspace import KEYS
from tests.support.programs import environment
from tests.support.rig import open_rig, working
from tests.support.script import Role, Text, Wait
from tests.support.scripted import OfflineUpstream, ScriptedQueue, lease, tools
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.broker.agreement import Agreement, Format
from tickertape.broker.connections import Connections
from tickertape.broker.errors import SettingsInvalid, Unavailable
from tickertape.broker.rights import Rights
from tickertape.broker.upstream_models import read_models
from tickertape.runtime.process_name import process_name
from tickertape.runtime.settings import Settings
from tickertape.worker import main, model_watch, process
from tickertape.worker.consumer import Consumer
from tickertape.worker.model_watch import ModelWatch, ModelWatchTiming
from tickertape.worker.upstream.errors import UpstreamError
from tickertape.worker.worker_channels import WorkerChannels

SIGNAL_BEFORE_THE_LOOP = """
import os, signal, sys
from tickertape.cli import main, serve

make = serve.new_event_loop

def signalled():
    os.kill(os.getpid(), signal.SIGTERM)
    return make()

serve.new_event_loop = signalled
sys.exit(main.main(["worker"]))
"""


def settings_for(upstream: ScriptedUpstream) -> Settings:
    return Settings.model_validate({"openai_base_url": upstream.base_url, "openai_model": "m"})


class ListeningConsumer(Consumer):
    """Records its calls."""

    def __init__(self) -> None:
        super().__init__(
            tools(OfflineUpstream(), ScriptedQueue()),
            slots=1,
            partitions=1,
            lease_s=60,
            suspect_crashes=2,
        )
        self.cancelled_ids: list[str] = []
        self.woken: list[int] = []

    def wake(self, partition: int) -> None:
        self.woken.append(partition)

    def cancelled(self, request_id: str) -> None:
        self.cancelled_ids.append(request_id)
        super().cancelled(request_id)


def test_a_push_wakes_a_worker_or_names_a_cancelled_request_whatever_its_bytes_are() -> None:
    consumer = ListeningConsumer()
    channels = WorkerChannels(consumer, KEYS, "w")
    (first,) = channels.added(1)
    (second,) = channels.added(2)
    channels.on_subscribed(first)
    channels.on_pushed(second, b"wake")
    channels.on_pushed(first, lease().request_id.encode())
    channels.on_pushed(first, b"\xff")
    assert consumer.woken == [0, 1]
    assert consumer.cancelled_ids == [lease().request_id, "\ufffd"]


def test_each_worker_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "ho:st.example.org")
    names = {process_name() for _ in range(10)}
    assert len(names) == 10
    assert all(re.fullmatch(rf"ho-st-{os.getpid()}-[0-9a-f]{{6}}", name) for name in names)


@pytest.mark.slow
def test_a_signal_before_the_event_loop_is_made_is_heard(redis_url: str, tmp_path: Path) -> None:
    """What heard it until then raised SystemExit, which a loop that is being made may swallow."""
    ended = subprocess.run(
        [sys.executable, "-c", SIGNAL_BEFORE_THE_LOOP],
        env=environment(REDIS_URL=redis_url, OPENAI_BASE_URL="http://127.0.0.1:9/v1"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "drained" in ended.stdout + ended.stderr


async def test_a_worker_that_starts_before_redis_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    checked: list[int] = []
    agree = Connections.agree_on_partitions

    async def away_at_first(self: Connections, partitions: int) -> None:
        checked.append(partitions)
        if len(checked) < 3:
            raise Unavailable
        await agree(self, partitions)

    monkeypatch.setattr(Connections, "agree_on_partitions", away_at_first)
    connections = Connections(redis_url)
    agreement = Agreement(connections, {})
    await process._wait_for_redis(connections, Rights(connections), agreement, 2, pause_s=0)
    assert checked == [2, 2, 2]
    assert await connections.ask("GET", KEYS.partition_count()) == b"2"
    await connections.aclose()


async def test_a_worker_that_cannot_read_the_data_ends_with_one_error(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    async with open_rig(redis_url) as rig:
        later = Format(version=9, oldest=1, reader=9)
        await Agreement(rig.connections, {}, own_format=later).start()
    with pytest.raises(SettingsInvalid, match="format 9 or later"):
        await main.run(settings_for(upstream), redis_url)


@pytest.mark.parametrize("error", [UpstreamError("down"), Unavailable()])
async def test_models_that_cannot_be_listed_or_written_are_tried_again(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    written: list[list[dict[str, Any]]] = []
    models = [{"id": "m"}]

    class Listing(OfflineUpstream):
        async def list_models(self) -> list[dict[str, Any]]:
            if isinstance(error, UpstreamError) and not written:
                written.append([])
                raise error
            return models

    async def write(connections: object, listed: list[dict[str, Any]]) -> None:
        written.append(listed)
        if isinstance(error, Unavailable) and len(written) == 1:
            raise error

    monkeypatch.setattr(model_watch, "write_models", write)
    connections = Connections("redis://127.0.0.1:1")
    task = asyncio.create_task(
        ModelWatch(connections, Listing(), ModelWatchTiming(retry_s=0)).run()
    )
    await wait_until(lambda: len(written) == 2, description="a second try")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connections.aclose()
    assert written[1] == models


async def test_the_collector_leaves_alone_what_was_there_before_the_first_claim(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings, threshold = settings_for(upstream), gc.get_threshold()
    gc.unfreeze()
    gc.set_threshold(700)  # Python's own; another worker may have run in this process
    try:
        async with open_rig(redis_url, settings) as rig, working(redis_url, settings):
            assert (await rig.ended(await rig.ask())).status == "completed"
            assert gc.get_freeze_count() > 10_000
            assert gc.get_threshold()[0] > 700
    finally:
        gc.set_threshold(*threshold)
        gc.unfreeze()


ODD = [
    {"id": "m", "owned_by": "vllm", "aliases": 7, "max_model_len": True, "size": 2**70},
    {"id": "\ud800"},
]


async def test_a_model_list_full_of_oddities_does_not_end_the_worker(
    monkeypatch: pytest.MonkeyPatch, redis_url: str, upstream: ScriptedUpstream
) -> None:
    monkeypatch.setattr(ScriptedUpstream, "_model_list", lambda self: ODD)
    settings = settings_for(upstream)
    async with open_rig(redis_url, settings) as rig, working(redis_url, settings):

        async def listed() -> list[dict[str, Any]] | None:
            return await read_models(rig.connections)

        models = await wait_until(listed, description="the models are in Redis")
        assert [model["id"] for model in models or []] == ["m", "\ufffd"]
        assert (await rig.ended(await rig.ask())).status == "completed"


async def test_a_worker_leaves_at_a_second_signal_and_a_third_does_no_harm(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    settings = settings_for(upstream)
    upstream.enqueue([Role(), Text("half"), Wait(asyncio.Event())])
    async with open_rig(redis_url, settings) as rig:
        task = asyncio.create_task(main.run(settings, redis_url, slots=1))
        request_id = await rig.ask()
        await rig.shows(request_id, "half")
        os.kill(os.getpid(), signal.SIGTERM)
        # The second one ends the grace.
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await task
        assert (await rig.record(request_id)).state == "queued"
    # One that comes while the process leaves must not kill it.
    os.kill(os.getpid(), signal.SIGTERM)
