"""Pure: what a request, a list of requests and a conversation look like as JSON.

Times are Unix times in seconds, with milliseconds as decimals. A field without a value is omitted
if its schema gives it a default, and null otherwise.
"""

from pydantic import BaseModel, ConfigDict, Field

from tickertape.broker.conversations import Conversation
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import TERMINALS
from tickertape.broker.requests import Record
from tickertape.broker.summaries import Summary
from tickertape.broker.turns import Turn
from tickertape.runtime.json_types import JsonObject

_EXAMPLE_ID = "r0_mfzwizltoqydimrtgu2dknjuha"
_EXAMPLE_AFTER = "1767225660456-3f786850e387550fdab836ed7e6dc881de23001b"
_EXAMPLE_TURN: JsonObject = {
    "request_id": _EXAMPLE_ID,
    "parent_id": "r0_h3qk5mzt2vd7xw4yb6ncfs2ajq",
    "asked": [{"role": "user", "content": "What can I see in Rome in three days?"}],
    "answered": "Start at the Forum.",
    "status": "completed",
}
_EXAMPLE_SUMMARY: JsonObject = {
    "conversation_id": "trip-to-rome",
    "title": "Three days in Rome",
    "created_at": 1767225600.123,
    "updated_at": 1767225660.456,
    "turns": 2,
    "active_request_id": "r0_ua4x7gq2kd6zt3mwh5vnbc2sje",
    "role": "translator",
    "model": "gpt-5-mini",
    "temperature": 0.7,
    "variables": {"LANGUAGE": "Italian"},
}


class SubmittedView(BaseModel):
    """An accepted request. It is stored, and will end as completed, failed or cancelled."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["queued"])
    stream_url: str = Field(
        examples=[f"/chat/{_EXAMPLE_ID}/stream"],
        description="Append it to the address of this API, with the prefix of a mount or a proxy",
    )
    conversation_id: str | None = Field(default=None, description="Omitted if the body named none")


class CancelView(BaseModel):
    """The state in which the request ended: `cancelled`, or another one if it ended earlier."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["cancelled"])


class FailureView(BaseModel):
    """Why a request failed, and whether a repeated request can succeed."""

    code: str = Field(examples=["upstream_rate_limited"])
    message: str
    retryable: bool


class RequestSummary(BaseModel):
    """A request without its text."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["running"])
    role: str | None
    model: str | None
    n: int = Field(description="Attempts so far; a later attempt may discard earlier output")
    created_at: float = Field(examples=[1767225600.123])
    ended_at: float | None
    wire: str = Field(description="The protocol by which the request was submitted")
    conversation_id: str | None = None
    metadata: dict[str, str] | None = None


class RequestView(RequestSummary):
    """The present state of a request. Optional fields without a value are omitted."""

    text: str
    cursor: str = Field(description="The last entry that this view includes; resume after it")
    finish_reason: str | None
    usage: JsonObject | None
    error: FailureView | None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[JsonObject] | None = None
    tool_results: list[JsonObject] | None = Field(
        default=None, description="What tools gave that a function ran"
    )
    data: list[JsonObject] | None = Field(default=None, description="Data of a function")
    x: JsonObject | None = Field(
        default=None, description="Further fields of the upstream: images, annotations, ..."
    )
    sha256: str | None = Field(
        default=None, description="SHA-256 of the UTF-8 text, once completed"
    )
    queue_position: int | None = Field(
        default=None, description="How many requests start before this one"
    )
    waiting: JsonObject | None = Field(
        default=None,
        description="Until when the upstream asked to wait (`until`, Unix time in ms), and why",
    )


class RequestList(BaseModel):
    """A page of requests, newest first. Send `after` for the next page; it is null at the end."""

    requests: list[RequestSummary]
    after: str | None


class TurnView(BaseModel):
    """A request of a conversation: its messages, and its answer up to its end in any state."""

    request_id: str
    parent_id: str | None = Field(
        description="The request id of the turn that this one follows, null at the start. Turns "
        "with the same parent are branches"
    )
    asked: list[JsonObject]
    answered: str | None = Field(
        description="Null while the request is active, and if it failed without an answer"
    )
    status: str | None = Field(
        default=None, description="How the request ended; null if `answered` is null"
    )
    tool_calls: list[JsonObject] | None = Field(default=None, description="Omitted without calls")


class ConversationSummary(BaseModel):
    """A conversation without its turns, with the options of its latest request."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_SUMMARY]})

    conversation_id: str = Field(examples=["trip-to-rome"])
    title: str | None = Field(
        examples=["Three days in Rome"],
        description="The first words of the first question, until it is renamed",
    )
    created_at: float = Field(examples=[1767225600.123])
    updated_at: float = Field(
        examples=[1767225660.456], description="The time of the latest request"
    )
    turns: int = Field(examples=[4], description="How many turns the conversation remembers")
    active_request_id: str | None = Field(examples=[None])
    role: str | None = Field(examples=["translator"])
    model: str | None = Field(examples=["gpt-5-mini"])
    temperature: float | None = Field(examples=[0.7])
    variables: dict[str, str] | None = Field(
        examples=[{"LANGUAGE": "Italian"}], description="Null without any, or if they are large"
    )


class ConversationList(BaseModel):
    """A page of conversations, latest first. Send `after` for the next page; null at the end."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"conversations": [_EXAMPLE_SUMMARY], "after": _EXAMPLE_AFTER}]
        }
    )

    conversations: list[ConversationSummary]
    after: str | None = Field(examples=[_EXAMPLE_AFTER])


class ConversationView(BaseModel):
    """The turns of a conversation that are remembered, in the order of their questions."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [_EXAMPLE_SUMMARY | {"turns": [_EXAMPLE_TURN]}]}
    )

    conversation_id: str
    title: str | None = Field(description="As in `GET /conversations`, like all fields below")
    created_at: float
    updated_at: float
    turns: list[TurnView]
    active_request_id: str | None
    role: str | None
    model: str | None
    temperature: float | None
    variables: dict[str, str] | None
    before: str | None = Field(
        default=None,
        description="Omitted without `limit` and `before`. Send it for the page with the turns in "
        "front of these; null at the start",
    )


def stream_url(request_id: str) -> str:
    """The path of a request's stream, below the address of the API, which only the caller knows.

    As in 0.1.0, it has no prefix: clients append it to the address that they call.
    """
    return f"/chat/{request_id}/stream"


def request_summary(record: Record) -> RequestSummary:
    """The view of a request from its record, without its log."""
    return RequestSummary(**_summary(record), model=record.head.get("model"))


def request_view(record: Record, answer: Answer, position: int | None) -> RequestView:
    """The view of a request from its record and its log. Read the record before the log.

    In this order the log is never older than the record, so its state and its usage win.
    """
    status = status_of(record, answer)
    optional = {
        "reasoning": "".join(answer.reasoning),
        "refusal": "".join(answer.refusal),
        "tool_calls": [call for _, call in sorted(answer.tool_calls.items())],
        "tool_results": answer.tool_results,
        "data": answer.data,
        "x": answer.x,
        "sha256": answer.end.get("sha256"),
        "waiting": record.waiting if status == "queued" else None,
        "queue_position": position if status == "queued" else None,
    }
    present = {name: value for name, value in optional.items() if value not in (None, "", [], {})}
    return RequestView(
        **_summary(record) | present | {"status": status, "n": answer.n},
        model=answer.model or record.head.get("model"),
        text="".join(answer.text),
        cursor=str(answer.last.cursor) if answer.last else f"{record.attempt}-{record.seq}",
        finish_reason=answer.end.get("finish_reason"),
        usage=answer.end.get("usage") or _last_usage(record),
        error=FailureView.model_validate(answer.end) if status == "failed" else None,
    )


def status_of(record: Record, answer: Answer) -> str:
    """The state of a request whose record was read before its log.

    A running request may return to the queue, because its worker drained or died, or because the
    upstream asked to wait. Only the record shows that, and only until another attempt starts.
    """
    is_in_queue = record.status == "queued"
    if answer.status in TERMINALS or answer.last is None or not is_in_queue:
        return answer.status
    return "queued" if answer.last.cursor.attempt <= record.attempt else answer.status


def request_list(records: list[Record], after: str | None) -> RequestList:
    """The view of a page of requests."""
    return RequestList(requests=[request_summary(record) for record in records], after=after)


def conversation_view(conversation_id: str, conversation: Conversation) -> ConversationView:
    """The view of a conversation without its turns, which `turn_view` shows one by one."""
    fields = _conversation_fields(conversation.summary) | {"conversation_id": conversation_id}
    return ConversationView.model_validate(fields | {"turns": []})


def turn_view(turn: Turn, parent_id: str | None) -> TurnView:
    """The view of a turn."""
    return TurnView(
        request_id=turn.request_id,
        parent_id=parent_id,
        asked=turn.asked,
        answered=turn.answered,
        status=turn.status,
        **({"tool_calls": turn.calls} if turn.calls else {}),
    )


def conversation_summary(summary: Summary) -> ConversationSummary:
    """The view of a conversation without its turns."""
    return ConversationSummary.model_validate(_conversation_fields(summary))


def _conversation_fields(summary: Summary) -> JsonObject:
    options = ("role", "model", "temperature", "variables")
    return {
        "conversation_id": summary.conversation_id,
        "title": summary.title,
        "created_at": summary.created_ms / 1000,
        "updated_at": summary.updated_ms / 1000,
        "turns": summary.turns,
        "active_request_id": summary.active_request_id,
        **{name: summary.options.get(name) for name in options},
    }


def _summary(record: Record) -> JsonObject:
    shown: JsonObject = {
        "request_id": record.request_id,
        "status": record.status,
        "role": record.head.get("role"),
        "n": record.n,
        "created_at": record.created_ms / 1000,
        "ended_at": None if record.ended_ms is None else record.ended_ms / 1000,
        "wire": record.head.get("wire", "native"),
    }
    optional = ("conversation_id", "metadata")
    return shown | {name: record.head[name] for name in optional if name in record.head}


def _last_usage(record: Record) -> JsonObject | None:
    """The usage of the last attempt that reported any, because a cut answer is billed, too."""
    if not record.usage:
        return None
    return record.usage[max(record.usage, key=int)]
