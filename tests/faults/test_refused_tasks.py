"""No refused command, and no foreign key, ends a background task of an API process or a worker."""

from dataclasses import replace
from typing import Any

import pytest
from redis import Redis

from tests.faults.test_liveness import probed_worker
from tests.support.accounts import ALL, ASKED, limited_account
from tests.support.followers import following
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming
from tickertape.runtime.settings import Settings
from tickertape.worker.assembly import TIMING

BUSY = ApiTiming(position_interval_s=0.02, fleet_interval_s=0.02, watchers_interval_s=0.02)
QUICK = replace(TIMING, report_interval_s=0.02, models=replace(TIMING.models, retry_s=0.02))


async def names(api: RunningApi, command: str) -> bool:
    ready = await api.client.get("/readyz")
    return ready.status_code == 503 and command.lower() in ready.text.lower()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_right_is_taken_away_from_a_running_api_and_worker_and_given_back(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "heartbeat_s": 0.1}
    with limited_account(redis_url, *ALL) as account:
        async with (
            running_api(account.url, timing=BUSY, **given) as api,
            probed_worker(account.url, upstream) as (probe, _),
        ):
            await probe.says("/readyz", (200, "ok"))
            for command in ASKED:
                account.allow(*ALL, f"-{command}")
                await wait_until(lambda: names(api, command), description=f"{command} is named")  # noqa: B023
                status, reason = await probe.get("/readyz")
                assert status == 503
                assert command.lower() in reason.lower()
                assert (await api.client.get("/healthz")).status_code == 200
                assert (await probe.get("/healthz"))[0] == 200
                account.allow(*ALL)
                await wait_until(api.is_ready, description="the API to be ready again")
                await probe.says("/readyz", (200, "ok"))
            request_id = await api.submit(conversation_id="c")
            async with following(api.stream_url(request_id)) as reader:
                await reader.ends()
            assert reader.text == "Hello, world."
            assert api.problems == []


@pytest.mark.parametrize(
    "key",
    [
        "ring",
        *(
            pytest.param(key, marks=pytest.mark.slow)
            for key in ("wait:public", "wake", "running", "delayed", "load")
        ),
    ],
)
async def test_a_foreign_key_ends_neither_the_api_nor_the_worker(
    redis_url: str, upstream: ScriptedUpstream, key: str
) -> None:
    """A request waits, is watched and runs, while one key of its partition has another type."""
    given: dict[str, Any] = {"openai_base_url": upstream.base_url, "heartbeat_s": 0.1}
    async with (
        open_rig(redis_url, Settings.model_validate(given)) as rig,
        running_api(redis_url, timing=BUSY, **given) as api,
    ):
        request_id = await rig.ask()
        async with following(api.stream_url(request_id)) as reader:
            await reader.receives("position")
            with Redis.from_url(redis_url) as client:
                name = f"{{p0}}:{key}"
                client.config_resetstat()
                before = client.dump(name)
                client.restore(name, 0, text_dump(client), replace=True)
                await wait_until(lambda: rounds(client) > 5, description="rounds with this key")
                async with working(redis_url, Settings.model_validate(given), timing=QUICK):
                    await wait_until(api.is_ready, description="the API to be ready")
                    await wait_until(
                        lambda: len(client.execute_command("PUBSUB", "SHARDCHANNELS")) >= 2,
                        description="the worker to listen",
                    )
                    claims = rounds(client)
                    await wait_until(
                        lambda: rounds(client) > claims + 2,
                        description="claims with this key",
                    )
                    client.delete(name)
                    if before:
                        client.restore(name, 0, before)
                    assert (await rig.ended(await rig.ask())).status == "completed"
            assert api.problems == []
            assert (await api.client.get("/healthz")).status_code == 200


def rounds(client: Redis) -> int:
    """Calls of scripts, such as the one that looks for the places of waiting requests."""
    commands: Any = client.info("commandstats")
    return int(commands.get("cmdstat_evalsha", {"calls": 0})["calls"])


def text_dump(client: Redis) -> bytes:
    client.set("foreign", "text")
    dump = client.dump("foreign")
    client.delete("foreign")
    assert isinstance(dump, bytes)
    return dump
