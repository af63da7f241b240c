"""A small call that names a long response: the loop goes on while that is read and joined."""

import asyncio
import json

import pytest

from tests.support.loop_turns import watched_turns
from tests.support.posting import AT_ONCE
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tickertape.broker.log import Logs
from tickertape.broker.patient_json import decode_patiently
from tickertape.broker.segments import Stored

ITEMS = 33_000
# On a machine with nothing else to do, the longest turn is below 50 ms, and was 1,200 ms.
MOST_MS = 300


async def kept_response(api: RunningApi) -> str:
    """A cancelled response with very many messages."""
    items = [{"role": "user", "content": "x"}] * ITEMS
    created = await api.client.post("/v1/responses", json={"background": True, "input": items})
    response_id = str(created.json()["id"])
    await api.client.post(f"/v1/responses/{response_id}/cancel")
    return response_id


@pytest.mark.slow
async def test_a_small_body_that_names_a_response_of_many_messages_does_not_stop_the_loop(
    redis_url: str,
) -> None:
    async with running_api(redis_url, timing=AT_ONCE) as api:
        response_id = await kept_response(api)
        body = {"background": True, "input": "x", "previous_response_id": response_id}
        longest_ms = []
        for _ in range(3):
            async with watched_turns() as turns:
                answer = await api.client.post("/v1/responses", json=body)
            assert answer.status_code == 200
            async with watched_turns() as reading:
                shown = await api.client.get(f"/v1/responses/{response_id}")
            assert shown.json()["id"] == response_id
            longest_ms.append(max(turns.longest_ms, reading.longest_ms))
            if longest_ms[-1] < MOST_MS:
                return
        pytest.fail(f"turns of {longest_ms} ms")


async def test_a_tenant_reads_two_large_logs_at_a_time(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch, redis_url: str
) -> None:
    async with open_rig(redis_url) as worker:
        request_id = await large_log(worker)
    read, open_now, most = Logs.stored, 0, 0

    async def counted(self: Logs, request_id: str) -> list[Stored]:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        try:
            return await read(self, request_id)
        finally:
            open_now -= 1

    monkeypatch.setattr(Logs, "stored", counted)
    answers = await asyncio.gather(*(api.client.get(f"/chat/{request_id}") for _ in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert most == 2


async def large_log(worker: Rig) -> str:
    request_id = await worker.begin()
    await worker.type("x" * 300_000)
    await worker.finish()
    return request_id


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": [1, 2.5, null, "x"], "b": {}}',
        b'{"long": [%b {"k": [true, "\\u00e9"]}], "e": []}' % (b'{"content": "x"},' * 3000),
        b'"%b"' % (b"x" * 40_000),
        b"[%b1]" % (b"[[2]]," * 10_000),
    ],
)
def test_json_that_is_decoded_in_short_calls_has_the_same_values(text: bytes) -> None:
    assert decode_patiently(text) == json.loads(text)
