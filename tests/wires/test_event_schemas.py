"""The documented payloads of the native wire are those that the server sends."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import get_args

import jsonschema
import pytest

from tests.support.keyspace import KEYS
from tests.support.rig import Rig, open_rig
from tests.support.running_api import RunningApi, running_api
from tests.support.sse import Event
from tests.support.wait import wait_until
from tests.wires.recorded import FOLDER
from tickertape.api.edge.ticket_text import Claims
from tickertape.api.edge.tickets import ticket_event
from tickertape.api.protocols.native.event_schemas import (
    ENTRY_MODELS,
    EVENT_MODELS,
    event_schemas,
    schema_links,
)
from tickertape.broker.kinds import EntryKind
from tickertape.client.events import EventDecoder
from tickertape.runtime.json_types import JsonObject
from tickertape.worker.failures import Failure, FailureCode

CLAIMS = Claims(
    ticket_id="1", tenant="t", kind="chat", object_id="r", right="read", issued_ms=1, ttl_ms=1,
    expires_ms=2, ends_ms=3,
)  # fmt: skip


def check(events: Iterable[Event]) -> set[str]:
    """Validate events strictly, and return their kinds. Fields without documentation fail."""
    kinds = set()
    schemas = event_schemas()
    for event in events:
        model = EVENT_MODELS[event.kind]
        parsed = model.model_validate(event.data)
        assert not parsed.model_extra, f"{event.kind} has undocumented fields: {event.data}"
        schema = {**schemas[model.__name__], "components": {"schemas": schemas}}
        jsonschema.validate(event.data, schema)
        has_id = event.cursor not in {None, ""}
        if event.kind != "rewind":
            assert has_id == (event.kind in ENTRY_MODELS or event.kind == "snapshot"), event
        kinds.add(event.kind)
    return kinds


def decoded(data: bytes) -> list[Event]:
    """The events of a stream, heartbeats too."""
    return [Event(event.cursor, event.kind, event.data) for event in EventDecoder().feed(data)]


def test_every_kind_of_entry_has_a_schema() -> None:
    assert {*ENTRY_MODELS, "unknown"} == set(get_args(EntryKind))  # readers skip the unknown
    assert set(schema_links()) == set(EVENT_MODELS)


def test_the_recorded_log_has_the_documented_payloads() -> None:
    recorded = decoded((FOLDER / "native.stream").read_bytes())
    assert check(recorded) == {
        "queued", "started", "resumed", "reasoning", "delta", "refusal", "tool_call",
        "tool_result", "data", "completed",
    }  # fmt: skip


def test_the_table_of_events_in_the_documents_names_each_field() -> None:
    text = (Path(__file__).parents[2] / "docs" / "wires.md").read_text("utf-8")
    table = text.partition("| event | fields of `data` |")[2].partition("\n\n")[0]
    documented: dict[str, set[str]] = {}
    for row in table.splitlines()[2:]:
        kinds, fields = (re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3])
        documented.update({kind: set(fields) for kind in kinds})
    assert documented == {
        kind: set(model.model_fields) - {"request_id"} for kind, model in EVENT_MODELS.items()
    }


@pytest.mark.parametrize("code", FailureCode)
def test_each_failure_has_the_documented_payload(code: FailureCode) -> None:
    check([Event("1-1", "failed", Failure(code, "It failed.").terminal())])


@contextlib.asynccontextmanager
async def reading(
    api: RunningApi, path: str, body: JsonObject | None = None
) -> AsyncIterator[Callable[[], list[Event]]]:
    """Read a stream for the length of the block; returns what was read so far."""
    data = bytearray()

    async def read() -> None:
        async with api.client.stream(
            "POST" if body else "GET", path, json=body, timeout=None
        ) as answer:
            assert answer.status_code == 200
            async for piece in answer.aiter_raw():
                data.extend(piece)

    task = asyncio.create_task(read())
    try:
        yield lambda: decoded(bytes(data))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(read: Callable[[], list[Event]], kind: str) -> None:
    await wait_until(
        lambda: any(event.kind == kind for event in read()), description=f"{kind} is read"
    )


async def test_every_kind_occurs_and_has_the_documented_payload(redis_url: str) -> None:
    events: list[Event] = []
    async with running_api(redis_url, heartbeat_s=0.1) as api, open_rig(redis_url) as rig:
        request_id = await api.submit(conversation_id="c", metadata={"k": "v"})
        async with reading(api, f"/chat/{request_id}/stream") as read:
            await until(read, "position")
            await _restart(rig)
            await until(read, "waiting")
            events += read()
        async with reading(api, f"/chat/{request_id}/stream?snapshot=1") as read:
            await until(read, "snapshot")
            events += read()
        async with reading(api, "/conversations/c/stream?after=r0_" + "a" * 26 + ":1-1") as read:
            await until(read, "rewind")
            await until(read, "watchers")
            await until(read, "title")
            await until(read, "heartbeat")
            await api.cancel(request_id)
            await until(read, "cancelled")
            await api.client.delete(f"/conversations/c/turns/{request_id}")
            await until(read, "erased")
            events += read()
        other = await api.submit()
        assert await rig.claim() == other
        async with reading(api, f"/chat/{other}/stream") as read:
            await until(read, "started")
            await rig.connections.ask("DEL", KEYS.log(other))
            await until(read, "gone")
            events += read()
        body = {"conversations": [{"conversation_id": "c"}]}
        async with reading(api, "/streams", body) as read:
            await until(read, "conversation")
            events += read()
        events += await _failed(api, rig)
        events += decoded(ticket_event("tk1_", CLAIMS))
    recorded = decoded((FOLDER / "native.stream").read_bytes())
    assert check(events) | check(recorded) == set(EVENT_MODELS)


async def _restart(rig: Rig) -> None:
    await rig.claim()
    await rig.type("half")
    await rig.reopen()
    assert rig.lease is not None
    await rig.queue.retry(rig.lease, 60_000, "upstream_rate_limited")


async def _failed(api: RunningApi, rig: Rig) -> list[Event]:
    request_id = await api.submit()
    await rig.claim()
    await rig.fail()
    async with reading(api, f"/chat/{request_id}/stream") as read:
        await until(read, "failed")
        return read()
