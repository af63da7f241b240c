"""A log with very many entries: its readers do not stop the event loop for others."""

import pytest

from tests.support.loop_turns import watched_turns
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tickertape.broker.codec import encode_data

PIECES = 30_000
# The fold of all these pieces in one turn took 600 ms of processor time.
MOST_MS = 300


async def long_log(api: RunningApi, worker: Rig) -> str:
    """A finished request, whose answer is one tool call in many pieces."""
    request_id = await api.submit()
    await worker.claim()
    first = {"index": 0, "id": "c", "name": "write", "arguments": ""}
    piece = encode_data("tool_call", {"index": 0, "arguments": "x" * 100})
    await worker.append(encode_data("tool_call", first))
    for _ in range(PIECES // 1000):
        await worker.append(*[piece] * 1000)
    await worker.finish()
    return request_id


@pytest.mark.parametrize("view", ["", "/stream?snapshot=true", "/stream"])
async def test_a_log_of_30000_pieces_is_read_without_stopping_the_loop(
    api: RunningApi, worker: Rig, view: str
) -> None:
    request_id = await long_log(api, worker)
    size, call = 0, api.client.stream("GET", f"/chat/{request_id}{view}")
    async with watched_turns() as turns, call as answer:
        async for data in answer.aiter_bytes():
            size += len(data)
    assert answer.status_code == 200
    assert size > PIECES * 100
    assert turns.longest_ms < MOST_MS
