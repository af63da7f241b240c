"""A log with very many entries: its readers do not stop the event loop for others."""

import gc
import time
from collections.abc import Iterator

import pytest

from tests.support.loop_turns import watched_turns
from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tickertape.broker.codec import encode_data
from tickertape.broker.fold import fold

pytestmark = pytest.mark.slow

PIECES = 30_000
# Of the time that a read of all these pieces in one turn takes on this machine; a quarter is usual.
MOST_OF_ONE_TURN = 0.7


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


async def time_of_one_turn_ms(worker: Rig, request_id: str) -> float:
    began_s = time.thread_time()
    fold(await worker.entries(request_id)).snapshot()
    return (time.thread_time() - began_s) * 1000


@pytest.fixture(autouse=True)
def no_collections() -> Iterator[None]:
    """A collection takes a turn of its own for all objects of the test process."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("view", ["", "/stream?snapshot=true", "/stream"])
async def test_a_log_of_30000_pieces_is_read_without_stopping_the_loop(
    api: RunningApi, worker: Rig, view: str
) -> None:
    request_id = await long_log(api, worker)
    in_one_turn_ms = await time_of_one_turn_ms(worker, request_id)
    size, call = 0, api.client.stream("GET", f"/chat/{request_id}{view}")
    async with watched_turns() as turns, call as answer:
        async for data in answer.aiter_bytes():
            size += len(data)
    assert answer.status_code == 200
    assert size > PIECES * 100
    assert turns.longest_ms < MOST_OF_ONE_TURN * in_one_turn_ms
