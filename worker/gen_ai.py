"""Pure: a call of the upstream in the words of OpenTelemetry's conventions for generative AI.

They are not stable, so spans have them only if OTEL_SEMCONV_STABILITY_OPT_IN asks for them. Those
for messages, instructions, tools and stop sequences are left out, because they have content.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from typing import Any

from tickertape.worker.upstream.tally import Tally

# Families without a name of their own speak OpenAI's protocol, and differ in their addresses.
_PROVIDERS = {
    "mistral": "mistral_ai",
    "gemini": "gcp.gemini",
    "deepseek": "deepseek",
    "anthropic": "anthropic",
    "vllm": "vllm",
    "llama.cpp": "llama.cpp",
}
_NUMBERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
_REASONS = frozenset({"stop", "length", "tool_calls", "function_call", "content_filter"})
_MOST = 2**63
_OUTPUT_TYPES = {"text": "text", "json_object": "json", "json_schema": "json"}
_TOKENS = {
    ("prompt_tokens",): "gen_ai.usage.input_tokens",
    ("completion_tokens",): "gen_ai.usage.output_tokens",
    ("prompt_tokens_details", "cached_tokens"): "gen_ai.usage.cache_read.input_tokens",
    (
        "completion_tokens_details",
        "reasoning_tokens",
    ): "gen_ai.usage.reasoning.output_tokens",
}


def request_attributes(body: dict[str, Any], profile: str, model: str | None) -> dict[str, Any]:
    """What is asked of the upstream; `model` is the one in use."""
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": _PROVIDERS.get(profile, "openai"),
        "gen_ai.request.stream": True,
    }
    if model is not None:
        attributes["gen_ai.request.model"] = model
    for field, name in _NUMBERS.items():
        if _is_number(value := body.get(field)):
            attributes[name] = value
    form = body.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if isinstance(kind, str) and kind in _OUTPUT_TYPES:
        attributes["gen_ai.output.type"] = _OUTPUT_TYPES[kind]
    return attributes


def response_attributes(tally: Tally) -> dict[str, Any]:
    """What the upstream has answered so far, in numbers."""
    attributes: dict[str, Any] = {}
    if tally.finish_reason is not None:
        # An unknown reason is text of the upstream.
        reason = tally.finish_reason if tally.finish_reason in _REASONS else "other"
        attributes["gen_ai.response.finish_reasons"] = [reason]
    for path, name in _TOKENS.items():
        value: Any = tally.usage
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if _is_number(value):
            attributes[name] = value
    return attributes


def _is_number(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        # A larger one cannot be sent, and would take all spans of its batch with it.
        return abs(value) < _MOST
    return isinstance(value, float)
