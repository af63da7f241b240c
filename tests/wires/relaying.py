"""From a client's request to the exact body that a real worker sends upstream."""

from typing import Any

from openai import AsyncOpenAI

from tests.support.rig import working
from tests.support.script import Done, Finish, Reasoning, Script, Text, ToolCall
from tests.support.upstream import ScriptedUpstream
from tickertape.runtime.settings import Settings

HI = {"role": "user", "content": "hi"}
IMAGE = "data:image/png;base64,AAAA"
TOOL: Any = {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": None}
# Reasoning, calls, and text between and after the calls, as gateways of several models stream them.
TWO_CALLS: Script = [
    Reasoning("Hm. "),
    Reasoning("Two."),
    ToolCall('{"at":', name="look", call_id="c1", index=0),
    ToolCall("1}", index=0),
    Text("Let me "),
    ToolCall('{"at":1}', name="look", call_id="c2", index=1),
    Text("look."),
    Finish("tool_calls"),
    Done(),
]


class Relay:
    """The SDK, a worker and an upstream."""

    def __init__(self, sdk: AsyncOpenAI, upstream: ScriptedUpstream, redis_url: str) -> None:
        self.sdk = sdk
        self.upstream = upstream
        self.settings = Settings(openai_base_url=upstream.base_url, openai_model="m")
        self.redis_url = redis_url

    async def send(self, messages_or_text: Any, **fields: Any) -> dict[str, Any]:
        """Create a response; returns the body that the worker sent upstream."""
        async with working(self.redis_url, self.settings):
            await self.sdk.responses.create(**{"model": "m", "input": messages_or_text, **fields})
        return self.upstream.calls[-1].body

    async def messages(self, messages_or_text: Any, **fields: Any) -> list[dict[str, Any]]:
        """As `send`, but returns only the messages."""
        messages: list[dict[str, Any]] = (await self.send(messages_or_text, **fields))["messages"]
        return messages
