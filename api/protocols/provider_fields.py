"""Pure: finds the provider fields in a client's history that the upstream needs to see again.

Gemini refuses a tool call whose `extra_content` is missing, and OpenRouter's models reason worse
without their earlier `reasoning_details`.
"""

from tickertape.broker.provider_fields import LOGPROBS, merge
from tickertape.runtime.json_types import JsonObject

NAME = "tickertape"
"""The key of these fields in the AI SDK's provider metadata."""

# Fields for the reader only. Strict upstreams refuse them in a message.
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
    """The provider fields of a call that a client sends back; none if they have another form."""
    return _without(x, {"id", "type", "index"})


def fields_of_message(x: object) -> JsonObject:
    """The provider fields of an assistant message that go back to the upstream."""
    return _without(x, _OUTPUT_ONLY | _OF_MESSAGE)


def metadata(x: JsonObject) -> JsonObject:
    """The fields as a chunk of the AI SDK carries them; empty without fields."""
    return {"providerMetadata": {NAME: x}} if x else {}


def from_metadata(metadata: object) -> JsonObject:
    """The provider fields in the metadata of a part that a page sends back."""
    x = metadata.get(NAME) if isinstance(metadata, dict) else None
    return x if isinstance(x, dict) else {}


def fields_of_parts(parts: list[JsonObject]) -> JsonObject:
    """The provider fields of an assistant message whose parts a page sends back."""
    x: JsonObject = {}
    for part in parts:
        merge(x, fields_of_message(from_metadata(part.get("providerMetadata"))))
    return x


def _without(x: object, names: frozenset[str] | set[str]) -> JsonObject:
    if not isinstance(x, dict):
        return {}
    return {name: value for name, value in x.items() if name not in names}
