"""A Redis that denies rights: reports name them, submits are refused, and nothing is left."""

import asyncio

import httpx2
import pytest
import structlog
from redis import Redis

from tests.faults.test_liveness import probed_worker
from tests.support.accounts import ALL, ASKED, CHANNELS, channels_but, limited_account
from tests.support.keyspace import KEYS
from tests.support.rig import open_rig, working
from tests.support.running_api import RunningApi, running_api
from tests.support.script import Role, Text, Wait, answer
from tests.support.upstream import ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings


async def submit(api: RunningApi) -> httpx2.Response:
    return await api.client.post("/chat", json={"message": "my secret prompt"})


def keys_of(redis_url: str) -> set[bytes]:
    with Redis.from_url(redis_url) as client:
        return {*client.keys()}


async def assert_refuses(api: RunningApi, redis_url: str, reason: str) -> None:
    """The API names the missing right and refuses a submit."""
    await wait_until(lambda: api.services.readiness.denial, description="the denial to be met")
    ready = await api.client.get("/readyz")
    assert ready.status_code == 503
    assert reason.lower() in ready.json()["error"]["message"].lower()
    refused = await submit(api)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"
    assert "/readyz names it" in refused.json()["error"]["message"]
    assert refused.headers["Retry-After"]
    assert keys_of(redis_url) == set()


@pytest.mark.parametrize("command", ASKED)
async def test_an_account_that_may_not_run_a_command_is_reported_at_the_start(
    redis_url: str, command: str
) -> None:
    with limited_account(redis_url, *ALL, f"-{command}") as account:
        async with running_api(account.url, wait_for_redis=False) as api:
            await assert_refuses(api, redis_url, command)


@pytest.mark.parametrize("channel", CHANNELS)
async def test_an_account_that_may_not_use_a_channel_is_reported_at_the_start(
    redis_url: str, channel: str
) -> None:
    with limited_account(redis_url, "~*", *channels_but(channel), "+@all") as account:
        async with running_api(account.url, wait_for_redis=False) as api:
            await assert_refuses(api, redis_url, f"SPUBLISH on {{p0}}:{channel}*")


async def test_an_account_without_channels_is_reported_and_comes_up_once_it_has_them(
    redis_url: str,
) -> None:
    """celery#8724: such an account came with a managed Redis."""
    with (
        limited_account(redis_url, "~*", "+@all") as account,
        structlog.testing.capture_logs() as logged,
    ):
        async with running_api(account.url, wait_for_redis=False) as api:
            await assert_refuses(api, redis_url, "SPUBLISH")
            account.allow(*ALL)
            await wait_until(api.is_ready, description="it comes up by itself")
            assert (await submit(api)).status_code == 202
    (denied,) = (
        line for line in logged if "address" in line and line["event"] == "Redis denies access"
    )
    assert "SPUBLISH on {p0}:push:*" in denied["reason"]
    assert "sesame" not in str(logged)


@pytest.mark.parametrize("rules", [("~*", "&*", "+@all", "-xadd"), ("~*", "+@all")])
async def test_a_right_that_is_revoked_at_run_time_is_reported_and_leaves_nothing(
    redis_url: str, rules: tuple[str, ...]
) -> None:
    with limited_account(redis_url, *ALL) as account, structlog.testing.capture_logs() as logged:
        async with running_api(account.url) as api:
            reported = KEYS.fleet().encode()
            await wait_until(lambda: reported in keys_of(redis_url), description="a report")
            before = keys_of(redis_url)
            account.allow(*rules)
            refused = await submit(api)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "unavailable")
            assert keys_of(redis_url) == before
            ready = await api.client.get("/readyz")
            assert "this account may not run" in ready.json()["error"]["message"]
            account.allow(*ALL)
            await wait_until(api.is_ready, description="it is ready again")
            assert (await submit(api)).status_code == 202
    (denied,) = (line for line in logged if line["event"] == "Redis denies access")
    assert denied["path"] == "/chat"
    assert "this account may not run" in denied["reason"]
    assert "secret" not in str(logged)


async def test_a_refused_login_is_reported_and_not_mistaken_for_an_unreachable_redis(
    redis_url: str,
) -> None:
    with limited_account(redis_url, *ALL) as account, structlog.testing.capture_logs() as logged:
        wrong = account.url.replace("sesame", "hunter2")
        async with running_api(wrong, wait_for_redis=False) as api:
            await assert_refuses(api, redis_url, "Redis refuses the login: invalid username")
    events = [line["event"] for line in logged]
    assert "Redis denies access" in events
    assert "waiting for Redis" not in events
    assert "hunter2" not in str(logged)


async def test_a_worker_that_lacks_a_right_names_it_and_works_once_it_has_it(
    redis_url: str, upstream: ScriptedUpstream
) -> None:
    with (
        limited_account(redis_url, "~*", "&*", "+@all", "-zpopmin") as account,
        structlog.testing.capture_logs() as logged,
    ):
        async with probed_worker(account.url, upstream) as (probe, _):
            reason = "Redis denies access: this account may not run ZPOPMIN"
            await probe.says("/readyz", (503, reason))
            assert await probe.get("/healthz") == (200, "ok")
            account.allow(*ALL)
            await probe.says("/readyz", (200, "ok"))
            account.allow("~*", "+@all")
            status, named = await probe.get("/readyz")
            assert status == 503
            assert "SSUBSCRIBE on {p0}:push:worker:*" in named
            account.allow(*ALL)
            await probe.says("/readyz", (200, "ok"))
    assert reason in [line.get("reason") for line in logged]
    assert "waiting for Redis" not in [line["event"] for line in logged]


@pytest.mark.parametrize("command", ["xadd", "spublish", "hset", "hmget", "evalsha"])
async def test_an_answer_is_complete_although_a_right_was_revoked_in_the_middle(
    redis_url: str, upstream: ScriptedUpstream, command: str
) -> None:
    gate = asyncio.Event()
    upstream.script = [Role(), Text("one "), Wait(gate), Text("two "), *answer("three")[1:]]
    settings = Settings.model_validate({"openai_base_url": upstream.base_url, "lease_s": 5})
    with limited_account(redis_url, *ALL) as account:
        async with open_rig(redis_url, settings) as rig, working(account.url, settings):
            request_id = await rig.ask()
            await rig.shows(request_id, "one ")
            with Redis.from_url(redis_url) as client:
                client.acl_log_reset()
                account.allow(*ALL, f"-{command}")
                gate.set()
                await wait_until(client.acl_log, description="a call of the worker to be refused")
            account.allow(*ALL)
            answered = await rig.ended(request_id)
    assert answered.status == "completed"
    assert "".join(answered.text) == "one two three"


async def test_an_error_reply_of_redis_is_logged_in_its_own_words(
    redis_url: str,
) -> None:
    with structlog.testing.capture_logs() as logged:
        async with running_api(redis_url) as api:
            with Redis.from_url(redis_url) as client:
                client.set("{p0}:load", "of another type")
            assert (await submit(api)).status_code == 500
    (failed,) = (line for line in logged if line["event"] == "request failed")
    assert "WRONGTYPE" in failed["reply"]
    assert "secret" not in str(logged)
