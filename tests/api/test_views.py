"""The JSON of a request: its record, and what its log adds."""

from typing import Any

import pytest

from tickertape.api.protocols.native.views import request_view, status_of
from tickertape.broker.codec import Cursor, Entry
from tickertape.broker.fold import fold
from tickertape.broker.requests import Record

STARTED = Entry(Cursor(20, 0), "started", data={"prev": "10-0", "n": 1, "model": "m"})
QUEUED = Entry(Cursor(10, 0), "queued", data={"v": 1})


def record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "request_id": "r0_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "tenant": "public",
        "state": "running",
        "attempt": 20,
        "seq": 0,
        "n": 1,
        "created_ms": 1_700_000_000_123,
        "ended_ms": None,
        "head": {"wire": "native"},
        "waiting": None,
        "usage": {},
    }
    return Record(**{**fields, **changes})


def shown(record: Record, *entries: Entry, position: int | None = None) -> dict[str, Any]:
    return request_view(record, fold(list(entries)), position).model_dump(exclude_unset=True)


def test_a_waiting_request_shows_its_place_and_no_text() -> None:
    view = shown(record(state="queued", attempt=10, n=0), QUEUED, position=0)
    assert view == {
        "request_id": "r0_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "status": "queued",
        "role": None,
        "model": None,
        "n": 0,
        "created_at": 1_700_000_000.123,
        "ended_at": None,
        "wire": "native",
        "text": "",
        "cursor": "10-0",
        "finish_reason": None,
        "usage": None,
        "error": None,
        "queue_position": 0,
    }


def test_a_completed_request_shows_everything() -> None:
    view = shown(
        record(state="completed", ended_ms=1_700_000_001_000),
        QUEUED,
        STARTED,
        Entry(Cursor(20, 1), "reasoning", "hm"),
        Entry(Cursor(20, 2), "delta", "Hel"),
        Entry(Cursor(20, 3), "delta", "lo"),
        Entry(Cursor(20, 4), "tool_call", data={"index": 0, "id": "c", "name": "f"}),
        Entry(
            Cursor(20, 5),
            "completed",
            data={"finish_reason": "stop", "usage": {"total_tokens": 3}, "sha256": "ab"},
        ),
    )
    assert view["status"] == "completed"
    assert view["text"] == "Hello"
    assert view["reasoning"] == "hm"
    assert view["tool_calls"] == [{"index": 0, "id": "c", "name": "f", "arguments": ""}]
    assert view["finish_reason"] == "stop"
    assert view["usage"] == {"total_tokens": 3}
    assert view["sha256"] == "ab"
    assert view["model"] == "m"
    assert view["cursor"] == "20-5"
    assert view["ended_at"] == 1_700_000_001.0
    assert "refusal" not in view
    assert "queue_position" not in view


def test_a_failed_request_shows_its_text_and_its_usage() -> None:
    failure = {"code": "upstream_error", "message": "It broke.", "retryable": True}
    view = shown(
        record(state="failed", usage={"15": {"total_tokens": 1}, "20": {"total_tokens": 2}}),
        STARTED,
        Entry(Cursor(20, 1), "delta", "Half"),
        Entry(Cursor(20, 2), "failed", data=failure),
    )
    assert view["error"] == failure
    assert view["text"] == "Half"
    assert view["usage"] == {"total_tokens": 2}


def test_a_request_that_the_upstream_delays_is_queued_with_a_time_to_retry() -> None:
    waiting = {"until": 1_700_000_002_000, "reason": "upstream_rate_limited"}
    view = shown(record(state="delayed", waiting=waiting), QUEUED, STARTED)
    assert view["status"] == "queued"
    assert view["waiting"] == waiting


@pytest.mark.parametrize(
    ("changes", "entries", "status"),
    [
        ({"state": "queued", "attempt": 20}, [STARTED], "queued"),
        ({"state": "queued", "attempt": 10}, [QUEUED, STARTED], "running"),
        ({"state": "held", "attempt": 10}, [QUEUED], "queued"),
        ({"state": "running"}, [STARTED, Entry(Cursor(20, 1), "cancelled")], "cancelled"),
    ],
    ids=["its worker died", "claimed after the record was read", "held", "ended after the record"],
)
def test_the_status_comes_from_the_newer_of_record_and_log(
    changes: dict[str, Any], entries: list[Entry], status: str
) -> None:
    assert status_of(record(**changes), fold(entries)) == status
