"""The toy protocol of CONTRIBUTING.md works as it stands there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.rig import Rig
from tests.support.running_api import running_api
from tickertape.api import app
from tickertape.api.protocols.http_protocol import HttpProtocol

GUIDE = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
IMPORTS = """
from typing import Annotated
from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field
from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, UsableServices
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.fanout.wire import CUT, Dialect, Frame
from tickertape.api.protocols.checked import Checked
from tickertape.api.protocols.event_json import encode_json
from tickertape.api.protocols.http_protocol import HttpProtocol
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.broker.codec import Entry
from tickertape.runtime.json_types import JsonObject
"""


def guided_protocol() -> HttpProtocol:
    """The protocol that the Python blocks of the guide define, in their order."""
    namespace: dict[str, Any] = {"__name__": __name__}
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for block in [IMPORTS, *blocks]:
        exec(block, namespace)
    protocol: HttpProtocol = namespace["PROTOCOL"]
    return protocol


async def test_the_toy_protocol_of_the_guide_streams_json_lines(
    redis_url: str, worker: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_PROTOCOLS", (guided_protocol(),))
    async with (
        running_api(redis_url) as api,
        api.client.stream("POST", "/toy/jsonl", json={"message": "hi"}) as answer,
    ):
        await worker.claim()
        await worker.type("Hello", ", world.")
        await worker.finish()
        lines = [json.loads(line) async for line in answer.aiter_lines()]
    assert answer.headers["Content-Type"] == "application/jsonl"
    assert lines == [{"t": "Hello"}, {"t": ", world."}, {"end": "completed"}]
