"""Requests of one conversation remember each other, and one stream shows all of them."""

from tests.fundamentals.conftest import System


async def test_the_next_request_of_a_conversation_contains_the_turns_before(system: System) -> None:
    first = await system.api.submit("My name is Ada.", conversation_id="c1")
    await system.events(first)
    second = await system.api.submit("What is my name?", conversation_id="c1")
    await system.events(second)

    assert system.upstream.calls[-1].body["messages"] == [
        {"role": "user", "content": "My name is Ada."},
        {"role": "assistant", "content": "Hello, world."},
        {"role": "user", "content": "What is my name?"},
    ]
    conversation = (await system.api.client.get("/conversations/c1")).json()
    assert [turn["request_id"] for turn in conversation["turns"]] == [first, second]
