"""AG-UI: run an agent, come back to a run, stop it.

A thread is a conversation with one active run.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from pydantic import BaseModel, ConfigDict

from tickertape.api.asking import Ask
from tickertape.api.dependencies import CurrentCaller, Tenant, UsableServices
from tickertape.api.edge.caller import Caller
from tickertape.api.edge.error_docs import error_responses
from tickertape.api.edge.problems import Problem
from tickertape.api.fanout.stream_response import StreamResponse
from tickertape.api.fanout.wire import CUT, Frame
from tickertape.api.protocols.agui import wire as agui
from tickertape.api.protocols.agui.after_event import AfterEvent
from tickertape.api.protocols.agui.body import Id, RunAgentInput
from tickertape.api.protocols.agui.thread import thread
from tickertape.api.protocols.checked import Name
from tickertape.api.protocols.json_body import JsonRoute
from tickertape.api.request_trace import note_record
from tickertape.api.services import Services
from tickertape.broker.codec import Cursor
from tickertape.broker.errors import ParentMissing, RequestMissing
from tickertape.broker.kinds import Policy
from tickertape.broker.requests import Record
from tickertape.broker.submission import Submitted
from tickertape.broker.turns import Links
from tickertape.runtime.json_types import JsonObject

router = APIRouter(tags=["ag-ui"], route_class=JsonRoute)

_STREAM: dict[int | str, JsonObject] = {
    200: {
        "description": "Events of AG-UI 1.0, from `RUN_STARTED` to `RUN_FINISHED` or `RUN_ERROR`",
        "content": {"text/event-stream": {}},
        "headers": {"X-Request-Id": {"schema": {"type": "string"}}},
    }
}
_STREAM_OR_THREAD: dict[int | str, JsonObject] = {
    200: {
        **_STREAM[200],
        "description": "Events of AG-UI 1.0; with `threadId` only, the thread",
        "content": {"text/event-stream": {}, "application/json": {}},
    }
}
LastEventId = Annotated[
    str | None, Header(description="The last `id:` received. The stream continues behind it")
]


class StopBody(BaseModel):
    """The run to stop, by default the active one of the thread."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"threadId": "demo"}]})

    threadId: Id  # noqa: N815  # the protocol's spelling
    runId: Id | None = None  # noqa: N815


class Stopped(BaseModel):
    """The run is not active now."""

    success: bool = True


@router.post(
    "/agui",
    response_class=Response,
    responses={**_STREAM, **error_responses(400, 401, 404, 409, 413, 415, 429, 503)},
)
async def run(
    body: RunAgentInput,
    services: UsableServices,
    caller: CurrentCaller,
    *,
    last_event_id: LastEventId = None,
    x_run_id: Annotated[str | None, Header(include_in_schema=False)] = None,
    model: Annotated[
        Name | None, Query(description="The model, unless `forwardedProps` names one")
    ] = None,
    on_interruption: Annotated[
        Policy | None, Query(description="As in `forwardedProps`, which wins")
    ] = None,
) -> Response:
    """Run an agent and stream its events. The same `threadId` and `runId` find the same run."""
    if last_event_id:
        # Only a run that was there has events, so a client that has some never starts another one.
        return await _resume(services, caller, body.runId, last_event_id)
    services.refuse_while_draining()
    of_address = {"model": model, "on_interruption": on_interruption}
    ask = await services.heavy.run_if_heavy(
        caller.tenant,
        # TanStack AI sends this header. It would show reasoning that is emptied as a message.
        lambda: _ask(body, of_address, caller, drops_reasoning=x_run_id is not None),
    )
    submitted = await _submit(services, ask, caller)
    locate = AfterEvent(None, joins=not submitted.is_new)
    dialect = agui.dialect(submitted.request_id)
    return await services.streams.follow(submitted.request_id, dialect, locate)


@router.get(
    "/agui",
    response_class=Response,
    responses={**_STREAM_OR_THREAD, **error_responses(400, 401, 404, 429, 503)},
)
async def join(
    services: UsableServices,
    caller: CurrentCaller,
    *,
    run_id: Annotated[
        Id | None,
        Query(alias="runId", description="The `runId` of a run, or the id of its request"),
    ] = None,
    thread_id: Annotated[
        Id | None, Query(alias="threadId", description="Without `runId`: the thread to restore")
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Stream a run that another client has started, from its beginning or behind an event.

    With `threadId` only: the messages of the thread and its active run, as JSON.
    """
    if run_id is not None:
        return await _resume(services, caller, run_id, last_event_id)
    if thread_id is not None:
        return await thread(services, caller, thread_id)
    raise Problem(400, "missing", "runId: name a run, or a thread in threadId", param="runId")


@router.post("/agui/stop", responses=error_responses(400, 401, 413, 415, 503))
async def stop(body: StopBody, services: UsableServices, tenant: Tenant) -> Stopped:
    """Stop a run and keep its text so far. The call is safe to repeat."""
    active_id = await services.conversations.active(tenant, body.threadId)
    if active_id is not None and await _is_meant(services, active_id, tenant, body.runId):
        await services.cancel(active_id, tenant)
    return Stopped()


def _ask(
    body: RunAgentInput, of_address: dict[str, Any], caller: Caller, *, drops_reasoning: bool
) -> Ask:
    props = body.props.beside(of_address)
    return Ask(
        wire=agui.NAME,
        messages=body.chat_messages(),
        params=body.params(props),
        role=props.role,
        conversation_id=body.threadId,
        # A replacement ends an answer that somebody else may have asked for.
        on_busy="replace" if "cancel" in caller.scopes else "reject",
        on_interruption=props.on_interruption or "restart",
        question=body.question(),
        links=body.links,
        memory=False,
        echo=body.echo(drops_reasoning=drops_reasoning),
        run_id=body.runId,
        for_functions=body.for_functions(),
    )


async def _submit(services: Services, ask: Ask, caller: Caller) -> Submitted:
    try:
        return await services.submit(ask, caller=caller)
    except ParentMissing:
        # The history was copied from another thread, or its last answer has expired.
        links = Links(message_id=ask.links.message_id)
        return await services.submit(replace(ask, links=links), caller=caller)


async def _resume(
    services: Services, caller: Caller, run_id: str, last_event_id: str | None
) -> Response:
    cursor = Cursor.parse(last_event_id) if last_event_id else None
    if cursor is not None and services.streams.is_draining:
        # Clients come back after a broken stream, and give up after an error or an empty one.
        return StreamResponse(_broken_off(), AsyncExitStack())
    services.refuse_while_draining()
    record = await _find(services, run_id, caller.principal)
    caller.require_conversation(record.head.get("conversation_id"))
    locate = AfterEvent(cursor, joins=True)
    return await services.streams.follow(
        record.request_id, agui.dialect(record.request_id), locate, waiting=record
    )


async def _broken_off() -> AsyncIterator[Frame]:
    yield CUT


async def _find(services: Services, run_id: str, tenant: str) -> Record:
    try:
        record = await services.requests.find_run(tenant, run_id)
    except RequestMissing:
        # A restored thread names its active run by the request.
        record = await services.requests.get(run_id, tenant)
    note_record(record)
    if record.head.get("wire") != agui.NAME:
        raise RequestMissing
    return record


async def _is_meant(services: Services, active_id: str, tenant: str, run_id: str | None) -> bool:
    """Whether the active request of a thread is a run, and the one that is meant."""
    try:
        if run_id is not None:
            return (await _find(services, run_id, tenant)).request_id == active_id
        return (await services.requests.get(active_id, tenant)).head.get("wire") == agui.NAME
    except RequestMissing:
        return False
