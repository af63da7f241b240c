"""AG-UI's threads as a page restores them, which knows only the thread's id."""

import asyncio
from typing import Any

import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.wires.claiming import claimed
from tests.wires.runs import HI, events, run
from tickertape.api.protocols.agui.thread import messages_of
from tickertape.broker.turns import Turn


async def restored(api: RunningApi, thread_id: str = "thread") -> dict[str, Any]:
    answer = await api.client.get("/agui", params={"threadId": thread_id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def shown(message_id: str, role: str, text: str) -> dict[str, Any]:
    return {"id": message_id, "role": role, "parts": [{"type": "text", "content": text}]}


async def test_a_page_that_knows_a_thread_gets_its_messages_and_joins_its_active_run(
    api: RunningApi, worker: Rig
) -> None:
    assert await restored(api) == {"messages": [], "activeRun": None}
    first = run(api)
    await claimed(worker)
    assert worker.lease is not None
    answer = f"msg_{worker.lease.request_id}_0"
    await worker.type("Hello")
    await worker.finish("Hello")
    await first
    messages = [shown("u-1", "user", "hi"), shown(answer, "assistant", "Hello")]
    assert await restored(api) == {"messages": messages, "activeRun": None}

    written = {"id": answer, "role": "assistant", "content": "Hello"}
    more = {"id": "u-2", "role": "user", "content": "more"}
    second = run(api, HI, written, more, runId="run-2")
    await claimed(worker)
    await worker.type("Ye")
    found = await restored(api)
    assert found["messages"] == [*messages, shown("u-2", "user", "more")]
    active = asyncio.create_task(api.client.get("/agui", params=found["activeRun"]))
    await worker.type("s")
    await worker.finish()
    begin, *rest = events(await second)
    restated = {"type": "MESSAGES_SNAPSHOT", "messages": [HI, written, more]}
    assert events(await active) == [begin, restated, *rest]


async def test_a_request_of_another_wire_is_no_run_to_join(api: RunningApi, worker: Rig) -> None:
    await api.submit("hi", conversation_id="thread")
    await claimed(worker)
    found = await restored(api)
    assert [message["role"] for message in found["messages"]] == ["user"]
    assert found["activeRun"] is None
    assert worker.lease is not None
    joined = await api.client.get("/agui", params={"runId": worker.lease.request_id})
    assert joined.status_code == 404


async def test_a_page_has_to_name_a_run_or_a_thread(api: RunningApi) -> None:
    answer = await api.client.get("/agui")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "runId")


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        ({"role": "tool", "tool_call_id": "c", "content": "x"}, []),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, [[]]),
        ({"role": "user", "content": [{"type": "text", "text": "a"}]}, [["a"]]),
    ],
)
def test_only_texts_of_people_are_shown(asked: dict[str, Any], texts: list[list[str]]) -> None:
    messages = list(messages_of(Turn("r0_x", [asked])))
    assert [[part["content"] for part in each["parts"]] for each in messages] == texts
