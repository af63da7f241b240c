"""The list of models, as the official SDK reads it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from tests.support.running_api import RunningApi, running_api
from tests.wires.conftest import openai_client
from tickertape.broker.upstream_models import write_models


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
