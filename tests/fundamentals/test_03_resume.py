"""The id of an event is a cursor: a reader that reconnects continues after it."""

from tests.fundamentals.conftest import System


async def test_a_reader_resumes_after_the_last_event_it_has(system: System) -> None:
    request_id = await system.api.submit("Hello?")
    events = await system.events(request_id)

    for position, event in enumerate(events[:-1]):
        assert await system.events(request_id, after=event.cursor or "") == events[position + 1 :]


async def test_a_cursor_that_is_unknown_starts_over_with_a_rewind(system: System) -> None:
    request_id = await system.api.submit("Hello?")
    events = await system.events(request_id)

    resumed = await system.events(request_id, after="1-1")

    assert resumed[0].kind == "rewind"
    assert resumed[1:] == events
