"""Pure: what an upstream's model list says beyond the names."""

from typing import Any


def known_contexts(models: list[dict[str, Any]]) -> dict[str, int]:
    """The context in tokens of each model that tells one, by its id and its aliases.

    There is no standard field: vLLM has `max_model_len`, OpenRouter and others `context_length`,
    llama.cpp `meta.n_ctx` (and `meta.n_ctx_train`, which a server may have been started below).
    """
    contexts: dict[str, int] = {}
    for model in models:
        tokens = _context(model)
        if tokens is not None:
            aliases = model.get("aliases")
            for name in (model.get("id"), *(aliases if isinstance(aliases, list) else ())):
                contexts[str(name)] = tokens
    return contexts


def _context(model: dict[str, Any]) -> int | None:
    meta = model.get("meta")
    fields = [model.get("max_model_len"), model.get("context_length")]
    if isinstance(meta, dict):
        fields += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return next((field for field in fields if type(field) is int and field > 0), None)
