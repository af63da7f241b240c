"""What is read from the many shapes of a model list."""

from typing import Any

import pytest

from tickertape.worker.upstream.model_list import known_contexts


@pytest.mark.parametrize(
    "fields",
    [
        {"max_model_len": 4096},
        {"context_length": 4096},
        {"meta": {"n_ctx": 4096, "n_ctx_train": 8192}},
        {"meta": {"n_ctx": None, "n_ctx_train": 4096}},
        {"max_model_len": 0, "context_length": 4096},
        {"max_model_len": "many", "context_length": 4096},
        {"max_model_len": True, "context_length": 4096},
    ],
)
def test_the_context_is_found_under_each_servers_name_for_it(fields: dict[str, Any]) -> None:
    assert known_contexts([{"id": "m", **fields}]) == {"m": 4096}


@pytest.mark.parametrize("fields", [{}, {"meta": None}, {"meta": "x"}, {"max_model_len": -1}])
def test_a_model_without_a_context_size_is_left_out(fields: dict[str, Any]) -> None:
    assert known_contexts([{"id": "m", **fields}]) == {}


def test_a_model_is_known_by_its_aliases_too() -> None:
    models = [{"id": "m", "aliases": ["small", "default"], "max_model_len": 10}]
    assert known_contexts(models) == {"m": 10, "small": 10, "default": 10}


@pytest.mark.parametrize("aliases", [None, 7, True, "word", {"a": 1}])
def test_aliases_that_are_no_list_are_ignored(aliases: Any) -> None:
    assert known_contexts([{"id": "m", "aliases": aliases, "max_model_len": 10}]) == {"m": 10}
