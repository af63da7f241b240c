"""OpenAI's SDK needs another address and key, and nothing else."""

from openai import AsyncOpenAI

from tests.fundamentals.conftest import System


async def test_the_sdk_streams_a_chat_completion(system: System) -> None:
    async with AsyncOpenAI(base_url=f"{system.api.url}/v1", api_key="any") as client:
        stream = await client.chat.completions.create(
            model="scripted-model",
            messages=[{"role": "user", "content": "Hello?"}],
            stream=True,
        )
        text = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(text) == "Hello, world."


async def test_the_sdk_gets_a_response(system: System) -> None:
    async with AsyncOpenAI(base_url=f"{system.api.url}/v1", api_key="any") as client:
        response = await client.responses.create(model="scripted-model", input="Hello?")
    assert response.output_text == "Hello, world."
