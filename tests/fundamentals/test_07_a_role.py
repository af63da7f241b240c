"""A role is a template of messages that goes before the caller's own."""

from tests.fundamentals.conftest import System


async def test_a_role_puts_its_messages_first(system: System) -> None:
    request_id = await system.api.submit("bonjour", role="translator")
    await system.events(request_id)

    messages = system.upstream.calls[-1].body["messages"]
    assert messages[0]["role"] == "system"
    assert messages[-1]["content"].endswith("bonjour")


async def test_an_unknown_role_is_refused_before_anything_is_accepted(system: System) -> None:
    refused = await system.api.client.post("/chat", json={"message": "hi", "role": "nobody"})
    assert refused.status_code == 404
