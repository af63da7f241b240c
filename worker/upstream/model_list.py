"""Pure: an upstream's list of models, and the context sizes in it."""

from typing import Any

from tickertape.worker.upstream.errors import UpstreamGarbage
from tickertape.worker.upstream.surrogates import scrubbed


def known_contexts(models: list[dict[str, Any]]) -> dict[str, int]:
    """The context of each model in tokens, by its id and its aliases, where the list has it.

    No field is standard. vLLM has `max_model_len`, OpenRouter and others have `context_length`,
    llama.cpp has `meta.n_ctx`. Its `meta.n_ctx_train` is used last, because a server may be started
    with a smaller context.
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


def models_in(answer: object) -> list[dict[str, Any]]:
    """The models of a list that the upstream sent. Raises UpstreamGarbage."""
    listed = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        raise UpstreamGarbage("The upstream answered with JSON that is not a list of models.")
    return [scrubbed(model) for model in listed if isinstance(model, dict) and model.get("id")]
