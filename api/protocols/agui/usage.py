"""Pure: the tokens of an answer in AG-UI's words."""

from tickertape.runtime.json_types import JsonObject

# AG-UI's name of a count, and where chat completions have it.
_COUNTS = {
    "inputTokens": ("prompt_tokens",),
    "outputTokens": ("completion_tokens",),
    "totalTokens": ("total_tokens",),
    "reasoningTokens": ("completion_tokens_details", "reasoning_tokens"),
    "cachedInputTokens": ("prompt_tokens_details", "cached_tokens"),
}


def usage_of(usage: object, model: str | None) -> JsonObject:
    """The counts that the upstream gave, with the model; empty if it counted nothing."""
    counts = {name: _count(usage, path) for name, path in _COUNTS.items()}
    known: JsonObject = {name: count for name, count in counts.items() if count is not None}
    return known | ({"model": model} if known and model else {})


def _count(usage: object, path: tuple[str, ...]) -> int | None:
    for name in path:
        usage = usage.get(name) if isinstance(usage, dict) else None
    return usage if type(usage) is int and usage >= 0 else None
