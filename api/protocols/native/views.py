"""Pure: what a request, a list of requests and a conversation look like as JSON.

Times are Unix times in seconds, with the milliseconds behind the point. Fields that have nothing to
say at the moment are left out where a schema says so, and null elsewhere.
"""

from pydantic import BaseModel, Field

from tickertape.broker.conversations import Conversation
from tickertape.broker.fold import Answer
from tickertape.broker.kinds import TERMINALS
from tickertape.broker.requests import Record
from tickertape.runtime.json_types import JsonObject

_EXAMPLE_ID = "r0_mfzwizltoqydimrtgu2dknjuha"


class SubmittedView(BaseModel):
    """An accepted request: it is kept, and will end in completed, failed or cancelled."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["queued"])
    stream_url: str = Field(examples=[f"/chat/{_EXAMPLE_ID}/stream"])
    conversation_id: str | None = Field(default=None, description="Only if one was given")


class CancelView(BaseModel):
    """How the request ended: `cancelled`, or its earlier end."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["cancelled"])


class FailureView(BaseModel):
    """Why a request failed, and whether asking again can help."""

    code: str = Field(examples=["upstream_rate_limited"])
    message: str
    retryable: bool


class RequestSummary(BaseModel):
    """A request without its text."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    status: str = Field(examples=["running"])
    role: str | None
    model: str | None
    n: int = Field(description="Attempts so far; output of an earlier attempt may be thrown away")
    created_at: float = Field(examples=[1767225600.123])
    ended_at: float | None
    wire: str = Field(description="How it came in")
    conversation_id: str | None = None
    metadata: dict[str, str] | None = None


class RequestView(RequestSummary):
    """A request as it is now. Optional fields are there only when they have something to say."""

    text: str
    cursor: str = Field(description="The last entry that is in here: follow the stream after it")
    finish_reason: str | None
    usage: JsonObject | None
    error: FailureView | None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[JsonObject] | None = None
    x: JsonObject | None = Field(
        default=None, description="What the upstream sent besides: images, annotations, ..."
    )
    sha256: str | None = Field(default=None, description="Of the text's UTF-8, once completed")
    queue_position: int | None = Field(default=None, description="Requests to be started first")
    waiting: JsonObject | None = Field(
        default=None, description="Until when (`until`, ms) the upstream wants us to wait, and why"
    )


class RequestList(BaseModel):
    """A page, newest first. Give `after` back to get the next one; null: there is none."""

    requests: list[RequestSummary]
    after: str | None


class TurnView(BaseModel):
    """A request of a conversation, and what was said until it ended, however it ended."""

    request_id: str
    asked: list[JsonObject]
    answered: str | None = Field(description="Null until it ends, and when it failed unanswered")
    status: str | None = Field(
        default=None, description="How it ended; null with an `answered` of null"
    )
    tool_calls: list[JsonObject] | None = Field(default=None, description="Only if there are")


class ConversationView(BaseModel):
    """What is remembered of a conversation, oldest first."""

    conversation_id: str
    turns: list[TurnView]
    active_request_id: str | None


def stream_url(request_id: str) -> str:
    """Where a request is followed; a path, since only the caller knows the host it called."""
    return f"/chat/{request_id}/stream"


def request_summary(record: Record) -> RequestSummary:
    """A request as its record alone shows it."""
    return RequestSummary(**_summary(record), model=record.head.get("model"))


def request_view(record: Record, answer: Answer, position: int | None) -> RequestView:
    """A request as its record and its log show it; the record must have been read first.

    Read in this order the log is never the older of the two, so it has the last word.
    """
    status = status_of(record, answer)
    optional = {
        "reasoning": "".join(answer.reasoning),
        "refusal": "".join(answer.refusal),
        "tool_calls": [answer.tool_calls[index] for index in sorted(answer.tool_calls)],
        "x": answer.x,
        "sha256": answer.end.get("sha256"),
        "waiting": record.waiting if status == "queued" else None,
        "queue_position": position if status == "queued" else None,
    }
    told = {name: value for name, value in optional.items() if value not in (None, "", [], {})}
    return RequestView(
        **_summary(record) | told | {"status": status, "n": answer.n},
        model=answer.model or record.head.get("model"),
        text="".join(answer.text),
        cursor=str(answer.last.cursor) if answer.last else f"{record.attempt}-{record.seq}",
        finish_reason=answer.end.get("finish_reason"),
        usage=answer.end.get("usage") or _last_usage(record),
        error=FailureView.model_validate(answer.end) if status == "failed" else None,
    )


def status_of(record: Record, answer: Answer) -> str:
    """The state of a request whose record was read before its log.

    The log does not say that a running request went back to the queue (its worker drained or died,
    the upstream said "later"): that is in the record, and true as long as no attempt came after it.
    """
    is_in_queue = record.status == "queued"
    if answer.status in TERMINALS or answer.last is None or not is_in_queue:
        return answer.status
    return "queued" if answer.last.cursor.attempt <= record.attempt else answer.status


def request_list(records: list[Record], after: str | None) -> RequestList:
    """A page of requests."""
    return RequestList(requests=[request_summary(record) for record in records], after=after)


def conversation_view(conversation_id: str, conversation: Conversation) -> ConversationView:
    """A conversation."""
    turns = [
        TurnView(
            request_id=turn.request_id,
            asked=turn.asked,
            answered=turn.answered,
            status=turn.status,
            **({"tool_calls": turn.calls} if turn.calls else {}),
        )
        for turn in conversation.turns
    ]
    return ConversationView(
        conversation_id=conversation_id,
        turns=turns,
        active_request_id=conversation.active_request_id,
    )


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
    """What the last attempt cost that was accounted for: an answer cut short is paid, too."""
    if not record.usage:
        return None
    return record.usage[max(record.usage, key=int)]
