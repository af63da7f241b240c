"""Calls that wait for their answer or their body while their key, ticket or token is taken back."""

import asyncio
import json
import time

import httpx2
import pytest

from tests.api.test_stored_keys import accepted_key, closed_api, of, refuses
from tests.support.issuer import AUDIENCE, ISSUER, running_issuer
from tests.support.raw import call, error_of, raw_connection
from tests.support.rig import Rig
from tests.support.running_api import RunningApi, running_api
from tests.support.wait import wait_until
from tickertape.api.services import ApiTiming

MESSAGES = [{"role": "user", "content": "hi"}]
WAITING = [
    ("/v1/chat/completions", {"model": "m", "messages": MESSAGES}),
    # The head of a stream waits for the first output.
    ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "stream": True}),
    ("/v1/responses", {"model": "m", "input": "hi"}),
]


async def answers(
    api: RunningApi, headers: dict[str, str], taken_back_by: asyncio.Event
) -> list[httpx2.Response]:
    """The answers to one call of each kind, all of which wait when the event is set."""
    async with asyncio.TaskGroup() as group:
        calls = [
            group.create_task(api.client.post(path, json=body, headers=headers))
            for path, body in WAITING
        ]
        await wait_until(
            lambda: api.services.streams.open_streams == len(calls), description="all calls wait"
        )
        taken_back_by.set()
    return [each.result() for each in calls]


def assert_refused(refusals: list[httpx2.Response]) -> None:
    for answer in refusals:
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        # The request itself goes on, so a repeated call would submit a second one.
        assert answer.headers["x-should-retry"] == "false"
        assert answer.headers["x-request-id"]


async def test_a_revoked_key_ends_the_calls_that_wait_for_their_answer(redis_url: str) -> None:
    async with closed_api(redis_url) as api:
        key, is_waiting = await accepted_key(api, "ada"), asyncio.Event()
        waiting = asyncio.create_task(answers(api, of(key), is_waiting))
        await is_waiting.wait()
        began = time.monotonic()
        assert await api.services.access.revoke("1")
        assert_refused(await waiting)
        assert time.monotonic() - began < 5
        assert api.services.streams.open_streams == 0


async def test_an_expired_token_ends_the_calls_that_wait_for_their_answer(redis_url: str) -> None:
    with running_issuer() as issuer:
        async with running_api(
            redis_url,
            timing=ApiTiming(access_interval_s=0.02),
            jwt_jwks_url=issuer.url,
            jwt_issuer=ISSUER,
            jwt_audience=AUDIENCE,
        ) as api:
            token = issuer.token(exp=int(time.time()) - 28)  # valid for two more seconds of leeway
            assert_refused(await answers(api, of(token), asyncio.Event()))


async def test_a_call_that_cancels_when_its_caller_leaves_cancels_when_its_key_is_revoked(
    redis_url: str, worker: Rig
) -> None:
    async with closed_api(redis_url) as api:
        key = await accepted_key(api, "public")
        path, body = WAITING[0]
        headers = {**of(key), "X-Cancel-On-Disconnect": "true"}
        waiting = asyncio.create_task(api.client.post(path, json=body, headers=headers))
        await wait_until(
            lambda: api.services.streams.open_streams == 1, description="the call waits"
        )
        await api.services.access.revoke("1")
        request_id = (await waiting).headers["x-request-id"]
        assert (await worker.record(request_id)).status == "cancelled"


@pytest.mark.parametrize("path", ["/chat", "/v1/chat/completions"])
async def test_a_key_that_is_revoked_while_the_body_arrives_submits_nothing(
    redis_url: str, path: str
) -> None:
    async with closed_api(redis_url) as api:
        key = await accepted_key(api, "ada")
        body = json.dumps({"messages": MESSAGES}).encode()
        sent = call("POST", path, f"Authorization: Bearer {key}", "Expect: 100-continue", body=body)
        async with raw_connection(api.url, sent.removesuffix(body)) as connection:
            # The body is received only after the key was accepted.
            await connection.until(b"100 Continue\r\n\r\n")
            await api.services.access.revoke("1")
            await wait_until(lambda: refuses(api, key), description="refused")
            await connection.send(body)
            answer = await connection.until(b"}}")
        assert error_of(answer.partition(b"100 Continue\r\n\r\n")[2]) == (401, "invalid_api_key")
        queue = (await api.services.fleet_status.read()).queue
        assert queue is not None
        assert queue.waiting == 0
