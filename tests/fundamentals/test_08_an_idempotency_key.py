"""An idempotency key makes a submit safe to repeat."""

from tests.fundamentals.conftest import System


async def test_the_same_key_and_body_are_the_same_request(system: System) -> None:
    headers = {"Idempotency-Key": "order-7"}
    body = {"message": "Hello?"}

    first = await system.api.client.post("/chat", json=body, headers=headers)
    second = await system.api.client.post("/chat", json=body, headers=headers)

    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["request_id"] == second.json()["request_id"]


async def test_the_same_key_with_another_body_is_refused(system: System) -> None:
    headers = {"Idempotency-Key": "order-7"}
    await system.api.client.post("/chat", json={"message": "Hello?"}, headers=headers)

    refused = await system.api.client.post("/chat", json={"message": "Bye?"}, headers=headers)

    assert refused.status_code == 409
