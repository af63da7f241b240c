"""Following over HTTP: the start of a stream, its wire, and requests without further events."""

import gc
from contextlib import aclosing

import pytest

from tests.support.rig import Rig
from tests.support.running_api import RunningApi
from tests.support.sse import Event, collect, follow, open_stream, text_of
from tests.support.wait import wait_until
from tickertape.api.fanout.uvicorn_handover import HandoverProtocol


async def finished(api: RunningApi, worker: Rig, *texts: str) -> str:
    request_id = await api.submit()
    await worker.claim()
    await worker.type(*texts)
    await worker.finish()
    return request_id


async def test_a_request_is_followed_while_it_is_written(api: RunningApi, worker: Rig) -> None:
    request_id = await api.submit(role="cli")
    events: list[Event] = []
    async with aclosing(follow(f"{api.url}/chat/{request_id}/stream")) as stream:
        async for event in stream:
            events.append(event)
            match event.kind:
                case "queued":
                    assert event.data["role"] == "cli"
                    await worker.claim()
                case "started":
                    await worker.type("Hel")
                case "delta" if event.data["text"] == "Hel":
                    await worker.type("lo")
                case "delta":
                    await worker.finish()
    assert text_of(events) == "Hello"
    assert events[-1].kind == "completed"


async def test_a_connection_that_was_handed_over_leaves_no_reference_cycle(
    api: RunningApi, worker: Rig
) -> None:
    """A full garbage collection would stop every stream, so the process seldom runs one."""
    request_id = await finished(api, worker, "x")
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await collect(f"{api.url}/chat/{request_id}/stream")
        known = api.server.server_state.connections

        def are_all_known() -> bool:
            return all(each in known for each in gc.get_objects() if type(each) is HandoverProtocol)

        await wait_until(are_all_known, description="uvicorn's protocols to be freed")
    finally:
        gc.enable()


async def test_a_stream_has_the_headers_of_a_stream_and_names_its_request(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await finished(api, worker, "x")
    async with open_stream(f"{api.url}/chat/{request_id}/stream") as stream:
        assert stream.headers["Content-Type"].startswith("text/event-stream")
        assert stream.headers["Cache-Control"] == "no-cache, no-transform"
        assert stream.headers["X-Accel-Buffering"] == "no"
        assert stream.headers["X-Request-Id"] == request_id


async def test_the_last_event_id_header_wins_over_the_query(api: RunningApi, worker: Rig) -> None:
    request_id = await finished(api, worker, "a", "b", "c")
    url = f"{api.url}/chat/{request_id}/stream"
    deltas = [event for event in await collect(url) if event.kind == "delta"]
    first, second = deltas[0].cursor, deltas[1].cursor
    assert first is not None
    assert second is not None
    by_query = await collect(f"{url}?after={first}")
    assert text_of(by_query) == "bc"
    by_both = await collect(f"{url}?after={first}", headers={"Last-Event-ID": second})
    assert text_of(by_both) == "c"


async def test_a_reader_that_has_every_event_gets_204(api: RunningApi, worker: Rig) -> None:
    request_id = await finished(api, worker, "x")
    url = f"/chat/{request_id}/stream"
    cursor = (await api.read(request_id))["cursor"]
    assert (await api.client.get(url, params={"after": cursor})).status_code == 204
    assert (await api.client.get(url, headers={"Last-Event-ID": cursor})).status_code == 204


async def test_a_stream_continues_after_the_cursor_of_the_status(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit()
    await worker.claim()
    await worker.type("Hel")
    view = await api.read(request_id)
    await worker.type("lo")
    await worker.finish()
    rest = await collect(f"{api.url}/chat/{request_id}/stream?after={view['cursor']}")
    assert view["text"] + text_of(rest) == "Hello"


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", "1 -2", "9" * 30 + "-1"])
async def test_a_malformed_cursor_is_refused(api: RunningApi, cursor: str) -> None:
    request_id = await api.submit()
    url = f"/chat/{request_id}/stream"
    for answer in (
        await api.client.get(url, params={"after": cursor}),
        await api.client.get(url, headers={"Last-Event-ID": cursor}),
    ):
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "invalid_cursor"


async def test_a_late_reader_may_begin_with_a_snapshot(api: RunningApi, worker: Rig) -> None:
    request_id = await finished(api, worker, "a", "b", "c")
    events = await collect(f"{api.url}/chat/{request_id}/stream?snapshot=1")
    assert events[0].kind == "snapshot"
    assert events[0].data["text"] == "abc"
    assert text_of(events) == "abc"


async def test_a_request_can_be_followed_as_raw_text(api: RunningApi, worker: Rig) -> None:
    request_id = await finished(api, worker, "Grüße, ", "世界")
    answer = await api.client.get(
        f"/chat/{request_id}/stream?format=text", headers={"Last-Event-ID": "no cursor here"}
    )
    assert answer.content == "Grüße, 世界".encode()
    assert answer.headers["X-Request-Id"] == request_id


async def test_a_request_continues_when_its_reader_leaves(api: RunningApi, worker: Rig) -> None:
    request_id = await api.submit()
    await worker.claim()
    async with open_stream(f"{api.url}/chat/{request_id}/stream") as stream:
        await anext(aiter(stream))
    await worker.type("still here")
    await worker.finish()
    assert (await api.read(request_id))["text"] == "still here"


async def test_open_streams_are_counted_until_they_close(api: RunningApi) -> None:
    request_id = await api.submit()

    async def shown() -> str:
        lines = (await api.client.get("/metrics")).text.splitlines()
        return next(line for line in lines if line.startswith("tickertape_subscribers "))

    async with open_stream(f"{api.url}/chat/{request_id}/stream") as stream:
        await anext(aiter(stream))
        assert await shown() == "tickertape_subscribers 1.0"
    await wait_until(
        lambda: api.services.streams.open_streams == 0, description="the stream is forgotten"
    )
    assert await shown() == "tickertape_subscribers 0.0"


async def test_a_conversation_is_followed_from_one_request_to_the_next(
    api: RunningApi, worker: Rig
) -> None:
    ids: list[str] = [await api.submit("one", conversation_id="c1")]
    seen: list[tuple[str, str]] = []
    url = f"{api.url}/conversations/c1/stream"
    async with aclosing(follow(url, until_terminal=False)) as stream:
        async for event in stream:
            seen.append((event.data["request_id"], event.kind))
            if event.kind == "queued":
                await worker.claim()
                await worker.finish(answered="x")
            elif event.kind == "completed" and len(ids) == 1:
                ids.append(await api.submit("two", conversation_id="c1"))
            elif event.kind == "completed":
                break
    kinds = ["queued", "started", "completed"]
    assert seen == [(request_id, kind) for request_id in ids for kind in kinds]


async def test_a_malformed_conversation_cursor_is_refused(api: RunningApi) -> None:
    await api.submit(conversation_id="c1")
    answer = await api.client.get("/conversations/c1/stream?after=nowhere")
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_cursor"


async def test_a_stream_that_is_opened_during_a_shutdown_ends_at_once(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await worker.begin(conversation_id="c1")
    api.services.streams.drain()
    for path in (f"/chat/{request_id}/stream", "/conversations/c1/stream"):
        async with open_stream(api.url + path) as stream:
            assert stream.status == 200
            assert [event async for event in stream] == []
            assert stream.parser.retry_ms is not None
    for answer in (
        await api.client.get(f"/chat/{request_id}/stream?format=text"),
        await api.client.post("/api/gpt/get", json={"message": "hi"}),
    ):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"


async def test_a_snapshot_of_a_finished_request_is_followed_by_its_end(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await finished(api, worker, "a", "b")
    events = await collect(f"{api.url}/chat/{request_id}/stream?snapshot=1")
    assert [event.kind for event in events] == ["snapshot", "completed"]
    assert events[0].data["text"] == "ab"
    assert events[1].data["finish_reason"] == "stop"


async def test_a_reader_that_joins_a_waiting_request_gets_the_waiting_notice_after_the_replay(
    api: RunningApi, worker: Rig
) -> None:
    request_id = await api.submit()
    await worker.claim()
    assert worker.lease is not None
    await worker.queue.retry(worker.lease, 60_000, "upstream_rate_limited")
    kinds = []
    async with aclosing(follow(f"{api.url}/chat/{request_id}/stream")) as stream:
        async for event in stream:
            kinds.append(event.kind)
            if event.kind == "waiting":
                assert event.data["reason"] == "upstream_rate_limited"
                break
    assert kinds == ["queued", "started", "waiting"]
