"""The payloads of the native wire's events: one model for each kind, for the OpenAPI document.

Tests compare the models with recorded logs and with live streams. The server does not build events
from them, because the encoding of a delta must stay cheap.
"""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from tickertape.runtime.json_types import JsonObject

_REF = "#/components/schemas/{model}"


class EventData(BaseModel):
    """The `data:` of an event. Clients should ignore fields that they do not know."""

    model_config = ConfigDict(extra="allow")

    request_id: str | None = Field(
        default=None, description="The request of the event; only in streams of conversations"
    )


class QueuedEvent(EventData):
    """The first entry of a log: the request was accepted, and waits."""

    wire: str | None = Field(
        default=None, description="The protocol by which the request was submitted"
    )
    role: str | None = None
    model: str | None = Field(default=None, description="Omitted if the request named none")
    conversation_id: str | None = None
    parent_id: str | None = Field(
        default=None, description="The request that this turn follows; in streams of conversations"
    )
    metadata: dict[str, str] | None = None
    temperature: float | None = Field(default=None, description="Omitted if none was chosen")
    variables: dict[str, str] | None = Field(
        default=None, description="The role's variables; omitted without any, or above 4 KiB"
    )
    messages: list[JsonObject] | None = Field(
        default=None, description="What was asked; in streams of conversations"
    )


class OpenerEvent(EventData):
    """The beginning of an attempt."""

    n: int = Field(description="The number of the attempt, from 1", examples=[1])
    model: str | None = Field(description="Null if the upstream chooses", examples=["gpt-5-mini"])


class StartedEvent(OpenerEvent):
    """An attempt has begun, and there is no output yet. Clear the text."""


class ResetEvent(OpenerEvent):
    """Another attempt has begun, and the output so far is discarded. Clear the text."""

    reason: str | None = Field(
        default=None,
        description="Why the earlier attempt broke off",
        examples=["upstream_unreachable"],
    )


class ResumedEvent(OpenerEvent):
    """Another attempt continues the output so far. Keep the text."""

    reason: str | None = Field(
        default=None, description="Why the earlier attempt broke off", examples=["worker_lost"]
    )


class TextEvent(EventData):
    """A piece of text to append."""

    text: str = Field(description="May be empty, when `x` is set", examples=["Because"])
    x: JsonObject | None = Field(
        default=None, description="Further fields of the upstream, for example `logprobs`"
    )


class DeltaEvent(TextEvent):
    """The next piece of the answer."""


class ReasoningEvent(TextEvent):
    """The next piece of the model's reasoning."""


class RefusalEvent(TextEvent):
    """The next piece of a refusal."""


class ToolCallEvent(EventData):
    """The next piece of a tool call. Append `arguments`; the other fields come once."""

    index: int = Field(description="Which call of the answer, from 0")
    id: str | None = None
    type: str | None = Field(default=None, description="Omitted for a function")
    name: str | None = None
    arguments: str | None = None
    x: JsonObject | None = None


class ToolResultEvent(EventData):
    """What a tool gave that a function ran."""

    index: int = Field(description="The call of the answer that this is the result of")
    id: str = Field(description="The id of that call", examples=["call_1"])
    result: Any = Field(description="Any JSON", examples=[{"state": "on its way"}])
    is_error: bool | None = Field(default=None, description="Set if the tool failed")


class DataEvent(EventData):
    """Data of a function for its own clients."""

    name: str = Field(examples=["order"])
    id: str | None = Field(
        default=None, description="Replace earlier data of the answer with this name and this id"
    )
    value: Any = Field(description="Any JSON", examples=[{"number": 17}])


class TimingData(BaseModel):
    """How long the last attempt took, in ms from its begin."""

    first_output_ms: int = Field(examples=[312])
    total_ms: int = Field(examples=[1512])


class CompletedEvent(EventData):
    """The answer is complete. The stream ends."""

    finish_reason: str | None = Field(examples=["stop"])
    usage: JsonObject | None = Field(examples=[{"prompt_tokens": 12, "completion_tokens": 34}])
    sha256: str = Field(description="SHA-256 of the UTF-8 text of the answer")
    timing: TimingData | None = Field(default=None, description="Omitted in logs of version 0.1")
    upstream: str | None = Field(
        default=None, description="The name of the upstream that answered, if there are several"
    )


class FailedEvent(EventData):
    """The answer has failed; its text so far stays. The stream ends."""

    code: str = Field(examples=["upstream_rate_limited"])
    message: str
    retryable: bool = Field(description="Whether the same request can succeed later")
    upstream: str | None = Field(
        default=None, description="The name of the upstream that failed last, if there are several"
    )


class CancelledEvent(EventData):
    """The request was cancelled; its text so far stays. The stream ends."""

    reason: Literal["replaced", "forgotten"] | None = Field(
        default=None, description="Omitted if a caller cancelled it"
    )


class SnapshotEvent(EventData):
    """All entries up to the event's id in one. Replace what you have."""

    text: str
    status: str | None
    n: int
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_results: list[JsonObject] | None = None
    data: list[JsonObject] | None = None
    x: JsonObject | None = None


class PositionEvent(EventData):
    """How many requests start before this one. It is sent when it changes."""

    position: int = Field(ge=0)
    no_worker_since: int | None = Field(
        default=None, description="Unix time in s; set while no worker is alive"
    )


class WaitingEvent(EventData):
    """The upstream asked to wait, and the request is tried again."""

    reason: str = Field(examples=["upstream_rate_limited"])
    until: int = Field(description="Unix time in ms")


class RewindEvent(EventData):
    """The log does not contain your cursor. Clear what you have; everything follows again."""

    reason: Literal["cursor_not_found", "log_changed", "forgotten"]


class GoneEvent(EventData):
    """The log has expired or was erased. The stream ends."""


class ErasedEvent(EventData):
    """The turn was erased from the conversation. Only in streams of conversations."""


class WatchersEvent(EventData):
    """How many clients read this conversation. Only in streams of conversations."""

    count: int = Field(ge=0)


class TitleEvent(EventData):
    """The title of the conversation has changed. Only in streams of conversations."""

    title: str | None = Field(description="Null if what it was made of was erased")


class ConversationEvent(EventData):
    """The events that follow belong to this conversation. Only in streams of `POST /streams`."""

    conversation_id: str


class HeartbeatEvent(EventData):
    """The connection is alive."""

    interval_s: float = Field(description="The longest time between two heartbeats", gt=0)


class TicketEvent(EventData):
    """A new ticket for a stream that was opened by one. Use it for the next connection."""

    ticket: str = Field(description="In place of the one before", examples=["tk1_..."])
    expires_ms: int = Field(description="When the ticket expires", examples=[1767225900000])
    ends_ms: int = Field(description="When renewal ends", examples=[1767312000000])


# The entries of a log, which have a cursor as their id, and the notices, which have none.
ENTRY_MODELS: MappingProxyType[str, type[EventData]] = MappingProxyType(
    {
        "queued": QueuedEvent,
        "started": StartedEvent,
        "reset": ResetEvent,
        "resumed": ResumedEvent,
        "delta": DeltaEvent,
        "reasoning": ReasoningEvent,
        "refusal": RefusalEvent,
        "tool_call": ToolCallEvent,
        "tool_result": ToolResultEvent,
        "data": DataEvent,
        "completed": CompletedEvent,
        "failed": FailedEvent,
        "cancelled": CancelledEvent,
    }
)
NOTICE_MODELS: MappingProxyType[str, type[EventData]] = MappingProxyType(
    {
        "snapshot": SnapshotEvent,
        "position": PositionEvent,
        "waiting": WaitingEvent,
        "rewind": RewindEvent,
        "gone": GoneEvent,
        "erased": ErasedEvent,
        "watchers": WatchersEvent,
        "title": TitleEvent,
        "conversation": ConversationEvent,
        "heartbeat": HeartbeatEvent,
        "ticket": TicketEvent,
    }
)
EVENT_MODELS = MappingProxyType({**ENTRY_MODELS, **NOTICE_MODELS})


def event_schemas() -> dict[str, Any]:
    """The JSON Schemas of all payloads by the names of their models, for `components.schemas`."""
    models = [(model, "serialization") for model in EVENT_MODELS.values()]
    _, document = models_json_schema(models, ref_template=_REF)  # type: ignore[arg-type]  # a list of literals
    schemas: dict[str, Any] = document["$defs"]
    return schemas


def listed(kinds: Iterable[str]) -> str:
    """The kinds as words of a sentence in Markdown."""
    return ", ".join(f"`{kind}`" for kind in kinds)


def schema_links() -> dict[str, dict[str, str]]:
    """A reference to the schema of each kind in the OpenAPI document."""
    return {
        kind: {"$ref": _REF.format(model=model.__name__)} for kind, model in EVENT_MODELS.items()
    }


EVENT_STREAM_SCHEMA: JsonObject = {
    "type": "string",
    "contentMediaType": "text/event-stream",
    "contentSchema": {
        "description": "The `data:` of an event",
        "anyOf": [*schema_links().values()],
    },
}
"""The schema of a stream of these events."""
