"""Pure: provider fields on their way back, from a client's history to the upstream they came from.

Gemini refuses a call of a tool that comes back without its `extra_content`, and OpenRouter's models
lose their thread without `reasoning_details`.
"""

from tickertape.broker.provider_fields import LOGPROBS, merge
from tickertape.runtime.json_types import JsonObject

NAME = "tickertape"
"""Under this name they stand among the AI SDK's provider metadata."""

# What was for the reader alone; strict upstreams refuse to see it again.
_OUTPUT_ONLY = frozenset({LOGPROBS, "annotations", "audio", "content_parts", "images"})
_OF_MESSAGE = frozenset(
    {
        "role",
        "content",
        "reasoning",
        "reasoning_content",
        "refusal",
        "name",
        "tool_calls",
        "tool_call_id",
    }
)


def fields_of_call(x: object) -> JsonObject:
    """The fields of a call that a client gives back; none, if they are not what was sent."""
    return _without(x, {"id", "type", "index"})


def fields_of_message(x: object) -> JsonObject:
    """The fields of an assistant's message that go back to the upstream."""
    return _without(x, _OUTPUT_ONLY | _OF_MESSAGE)


def metadata(x: JsonObject) -> JsonObject:
    """The fields as an AI SDK's chunk carries them; nothing if there are none."""
    return {"providerMetadata": {NAME: x}} if x else {}


def from_metadata(given: object) -> JsonObject:
    """The fields in the metadata of a part that a page sends back."""
    x = given.get(NAME) if isinstance(given, dict) else None
    return x if isinstance(x, dict) else {}


def fields_of_parts(parts: list[JsonObject]) -> JsonObject:
    """The fields of an assistant's message whose parts a page sends back."""
    x: JsonObject = {}
    for part in parts:
        merge(x, fields_of_message(from_metadata(part.get("providerMetadata"))))
    return x


def _without(x: object, names: frozenset[str] | set[str]) -> JsonObject:
    if not isinstance(x, dict):
        return {}
    return {name: value for name, value in x.items() if name not in names}
