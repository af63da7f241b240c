"""The list of models, as the official SDK reads it, and the models that callers may use."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.running_api import RunningApi, running_api
from tests.wires.conftest import openai_client
from tickertape.broker.upstream_models import write_models
from tickertape.roles import ModelDefaults, Role, Roles

KEY = "a-key-of-ada-0123456789"


async def test_the_upstreams_models_and_the_roles_are_listed(
    api: RunningApi, sdk: AsyncOpenAI
) -> None:
    listed: list[dict[str, Any]] = [
        {"id": "org/name", "object": "model", "created": 5, "owned_by": "org", "meta": {"x": 1}},
        {"id": "bare"},
    ]
    await write_models(api.services.connections, listed)
    models = {model.id: model async for model in sdk.models.list()}
    assert models["org/name"].created == 5
    assert models["org/name"].owned_by == "org"
    assert models["bare"].created == 0
    assert "role:sql" in models
    assert (await sdk.models.retrieve("org/name")).id == "org/name"
    assert (await sdk.models.retrieve("role:sql")).object == "model"
    with pytest.raises(openai.NotFoundError) as failure:
        await sdk.models.retrieve("nothing")
    assert failure.value.code == "model_not_found"


async def test_without_a_worker_the_default_model_is_listed(redis_url: str) -> None:
    async with (
        running_api(redis_url, openai_model="usual") as api,
        openai_client(api.url) as sdk,
    ):
        assert "usual" in [model.id async for model in sdk.models.list()]


def role(name: str, defaults: ModelDefaults) -> Role:
    return Role(name, "Talks", (), defaults, {})


async def test_the_models_that_are_listed_are_those_that_the_key_and_its_tenant_may_use(
    redis_url: str,
) -> None:
    keys = f"ada:{KEY} models=small+other,ada:all-{KEY},bob:bob-{KEY}"
    roles = Roles(
        [role("free", {}), role("tiny", {"model": "small"}), role("huge", {"model": "big"})]
    )
    every = ["small", "big", "other", "role:free", "role:huge", "role:tiny"]
    async with running_api(
        redis_url, api_keys=keys, tenant_rules="ada models=small+big", roles=roles
    ) as api:
        await write_models(api.services.connections, [{"id": name} for name in every[:3]])

        async def offered(key: str) -> list[str]:
            headers = {"Authorization": f"Bearer {key}"}
            answer = await api.client.get("/v1/models", headers=headers)
            names = [model["id"] for model in answer.json()["data"]]
            for name in every:
                one = await api.client.get(f"/v1/models/{name}", headers=headers)
                body = {"model": name, "input": "hi", "background": True}
                made = await api.client.post("/v1/responses", json=body, headers=headers)
                is_offered = name in names
                assert (one.status_code, made.status_code) == (
                    (200, 200) if is_offered else (404, 403)
                )
            return names

        assert await offered(KEY) == ["small", "role:tiny"]
        assert await offered(f"all-{KEY}") == [name for name in every if name != "other"]
        assert await offered(f"bob-{KEY}") == every
