"""The model list that workers leave for the API."""

from typing import Any

from tests.support.keyspace import KEYS
from tests.support.rig import open_rig
from tickertape.broker.upstream_models import (
    MODELS_TTL_S,
    read_models,
    read_models_fault,
    write_models,
    write_models_fault,
)


async def test_the_models_are_read_as_they_were_written_until_they_age(redis_url: str) -> None:
    async with open_rig(redis_url) as broker:
        assert await read_models(broker.connections) is None
        models: list[dict[str, Any]] = [{"id": "é", "created": 1}, {"id": "b"}]
        await write_models(broker.connections, models)
        assert await read_models(broker.connections) == models
        assert 0 < await broker.connections.ask("TTL", KEYS.models()) <= MODELS_TTL_S
        await write_models(broker.connections, [])
        assert await read_models(broker.connections) == []


async def test_the_reason_of_a_missing_model_list_is_kept_until_a_list_is_written_or_it_expires(
    redis_url: str,
) -> None:
    async with open_rig(redis_url) as broker:
        assert await read_models_fault(broker.connections) is None
        await write_models_fault(broker.connections, "It is away.", 6)
        assert await read_models_fault(broker.connections) == "It is away."
        assert 0 < await broker.connections.ask("TTL", KEYS.models_fault()) <= 6
        await write_models(broker.connections, [])
        assert await read_models_fault(broker.connections) is None
