"""The AI SDK's `useChat` posts its messages to /api/chat and reads a UI message stream."""

import json

from tests.fundamentals.conftest import System


async def test_use_chat_reads_one_message_as_chunks(system: System) -> None:
    message = {"role": "user", "parts": [{"type": "text", "text": "Hello?"}]}

    answered = await system.api.client.post("/api/chat", json={"id": "c1", "messages": [message]})

    *chunks, done = [line.removeprefix("data: ") for line in answered.text.split("\n\n") if line]
    assert done == "[DONE]"
    decoded = [json.loads(chunk) for chunk in chunks]
    assert decoded[0]["type"] == "start"
    text = "".join(chunk["delta"] for chunk in decoded if chunk["type"] == "text-delta")
    assert text == "Hello, world."
    assert decoded[-1] == {"type": "finish", "finishReason": "stop"}
