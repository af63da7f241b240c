"""OpenAI's Node client, with only its address and key changed."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.node import NodeProgram, installed
from tests.support.rig import working
from tests.support.running_api import running_api
from tests.support.script import Cut, Script, Status, Text, Wait, answer, error_body
from tests.support.upstream import Call, ScriptedUpstream
from tests.support.wait import wait_until
from tickertape.runtime.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SCRIPT = Path(__file__).parent / "openai_node.mjs"
FIFTY = [f"{number} " for number in range(50)]


def script(call: Call) -> Script:
    scripts: dict[str, Script] = {
        "fifty": answer(FIFTY),
        "endless": [Text("half"), Wait(asyncio.Event())],
        "hello": answer("Hello"),
        "reject": [Status(400, {}, error_body("No such model", "bad"))],
        "break": [Text("half"), Cut()],
    }
    return scripts[call.body["messages"][-1]["content"]]


async def test_openais_node_client_works_unchanged(
    tmp_path: Path, redis_url: str, upstream: ScriptedUpstream
) -> None:
    folder = installed(tmp_path, "ai7")
    upstream.script = script
    settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
    async with (
        running_api(redis_url) as first,
        running_api(redis_url) as second,
        working(redis_url, settings),
        NodeProgram(folder, SCRIPT, {"FIRST_URL": first.url, "SECOND_URL": second.url}) as program,
    ):
        (line,) = [line async for line in program.lines()]
        endless = next(c for c in upstream.calls if c.body["messages"][-1]["content"] == "endless")
        await wait_until(endless.closed.is_set, description="the cancelled upstream is closed")
    found = json.loads(line)
    cuts = found["cuts"]
    assert cuts["contiguous"]
    assert cuts["deltas"] == 50
    assert cuts["same"] == cuts["events"] > 50
    assert cuts["text"] == found["helper"] == "".join(FIFTY)
    assert found["cancelled"] == [*["cancelled"] * 3, "half"]
    assert found["chat"] == "Hello"
    assert "role:sql" in found["models"]
    assert (found["early"]["error"], found["early"]["status"]) == ("BadRequestError", 400)
    assert "No such model" in found["early"]["message"]
    assert found["middle"]["error"] == "APIError"
    assert (found["missing"]["error"], found["missing"]["status"]) == ("NotFoundError", 404)
