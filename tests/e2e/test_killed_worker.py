"""A worker is killed in mid-answer while clients of every wire read: the exact text, or an error.

Never a text that was spliced together, and never a part of one that looks whole.
"""

import asyncio
from collections import Counter

import pytest

from tests.support.callers import Caller
from tests.support.deployment import Deployment
from tests.support.script import Done, Finish, Script, Text, Wait, answer
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tests.support.wire_calls import (
    ERROR,
    Ask,
    Asked,
    agui,
    ai_sdk,
    ai_sdk_7,
    background,
    background_stream,
    chat,
    chat_stream,
    native,
    raw_text,
    response,
    response_stream,
    resuming_agui,
)
from tests.wires.conftest import openai_client

pytestmark = pytest.mark.slow

KEPT, REST = "Hel", "lo, world."
ANEW, WHOLE = "Something else.", KEPT + REST


class Dying:
    """An upstream whose first answer to each question never ends."""

    def __init__(self, upstream: ScriptedUpstream, *, can_continue: bool) -> None:
        upstream.owner = "llamacpp" if can_continue else "somebody"
        upstream.script = self._script
        self._calls: Counter[str] = Counter()

    def _script(self, call: Call) -> Script:
        *_, question = [m["content"] for m in call.body["messages"] if m["role"] == "user"]
        self._calls[question] += 1
        if self._calls[question] == 1:
            return [Text(KEPT), Wait(asyncio.Event())]
        last = call.body["messages"][-1]
        if last["role"] == "assistant":
            assert last["content"] == KEPT
            return [Text(REST), Finish(), Done()]
        # Not what it said at first: whoever joins the two has made something up.
        return answer(ANEW)


# What is heard where the upstream cannot go on from a partial answer, and where it can.
# docs/wires.md has this table, too.
TABLE: list[tuple[Ask, str, str]] = [
    (native, ANEW, ANEW),
    (raw_text, ERROR, WHOLE),
    (chat, ANEW, ANEW),
    (chat_stream, ERROR, WHOLE),
    (response, ANEW, ANEW),
    (response_stream, ERROR, WHOLE),
    (background, ANEW, ANEW),
    (background_stream, ERROR, WHOLE),
    (ai_sdk, ERROR, WHOLE),
    (agui, ANEW, ANEW),
    (resuming_agui, ANEW, ANEW),
    (ai_sdk_7, ANEW, ANEW),
]


@pytest.mark.parametrize("can_continue", [False, True])
async def test_what_is_heard_on_every_wire_of_an_answer_whose_worker_was_killed(
    deployment: Deployment, upstream: ScriptedUpstream, *, can_continue: bool
) -> None:
    Dying(upstream, can_continue=can_continue)
    (_, url), victim = await asyncio.gather(deployment.running_api(), deployment.running_worker())
    async with Caller(url) as caller, openai_client(url) as sdk:

        async def have_begun() -> bool:
            listed = (await caller.client.get("/chat", params={"limit": 100})).json()["requests"]
            texts = [(await caller.read(each["request_id"]))["text"] for each in listed]
            return texts == [KEPT] * len(TABLE)

        asking = [
            asyncio.create_task(ask(Asked(ask.__name__, caller.client, sdk))) for ask, _, _ in TABLE
        ]
        await wait_until(have_begun, timeout_s=20, description="all answers have begun")
        await victim.kill()
        await deployment.running_worker()
        heard = await asyncio.gather(*asking)
    assert {ask.__name__: text for (ask, _, _), text in zip(TABLE, heard, strict=True)} == {
        ask.__name__: continued if can_continue else otherwise
        for ask, otherwise, continued in TABLE
    }
